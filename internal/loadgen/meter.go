package loadgen

import (
	"bufio"
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A Meter reads a server's processor time from its Prometheus metrics.
type Meter struct {
	URL    string // of the metrics
	Token  string // bearer token; "" sends none
	Client *http.Client
}

const (
	// cpuMetric is what Prometheus's own collector of processes calls it.
	cpuMetric = "process_cpu_seconds_total "

	meterTimeout = 5 * time.Second
)

// Works reports whether the metrics can be read and tell the processor time.
func (m *Meter) Works(ctx context.Context) bool {
	_, ok := m.read(ctx)
	return ok
}

// CPU is the processor time so far; 0 if it cannot be read.
func (m *Meter) CPU() time.Duration {
	d, _ := m.read(context.Background())
	return d
}

func (m *Meter) read(ctx context.Context) (time.Duration, bool) {
	ctx, cancel := context.WithTimeout(ctx, meterTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, m.URL, nil)
	if err != nil {
		return 0, false
	}
	if m.Token != "" {
		r.Header.Set("Authorization", "Bearer "+m.Token)
	}
	resp, err := m.Client.Do(r)
	if err != nil {
		return 0, false
	}
	defer func() { _ = resp.Body.Close() }()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), cpuMetric); ok {
			seconds, err := strconv.ParseFloat(text, 64)
			return time.Duration(seconds * float64(time.Second)), err == nil
		}
	}
	return 0, false
}
