package loadgen_test

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/denseflow/densereward/internal/loadgen"
)

// steady is a Target with so many places that each take a while for a request.
type steady struct {
	places chan struct{}
	takes  time.Duration
	code   func(n int64) string
	asked  atomic.Int64
}

func newSteady(places int, takes time.Duration) *steady {
	return &steady{
		places: make(chan struct{}, places), takes: takes,
		code: func(int64) string { return loadgen.OK },
	}
}

func (s *steady) Ask(ctx context.Context) loadgen.Answer {
	n := s.asked.Add(1) - 1
	select {
	case s.places <- struct{}{}:
	case <-ctx.Done():
		return loadgen.Answer{Code: loadgen.CodeTimeout}
	}
	defer func() { <-s.places }()
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
		return loadgen.Answer{Code: loadgen.CodeTimeout}
	}
	a := loadgen.Answer{Code: s.code(n), Sent: 100, Received: 10}
	if a.Code == loadgen.OK {
		a.Images, a.Failed = 3, 1
	}
	return a
}

func near(t *testing.T, what string, got, want, share float64) {
	t.Helper()
	if math.Abs(got-want) > share*want {
		t.Errorf("%s is %v, want %v within %v %%", what, got, want, 100*share)
	}
}

func TestAClosedLoopKeepsSoManyRequestsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := newSteady(2, 100*time.Millisecond) // 20 a second
		began := time.Now()
		r, err := loadgen.Run(t.Context(), loadgen.Load{
			Concurrency: 4, Warmup: time.Second, Duration: 10 * time.Second, Timeout: time.Minute,
			ServerCPU: func() time.Duration { return time.Since(began) / 2 },
		}, target)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "requests a second", r.RequestsPerSecond, 20, 0.03)
		near(t, "images a second", r.ImagesPerSecond, 60, 0.03)
		near(t, "bytes sent a second", r.SentPerSecond, 2000, 0.03)
		near(t, "bytes received a second", r.ReceivedPerSecond, 200, 0.03)
		near(t, "median latency", r.Latency.P50, 200, 0.01)
		near(t, "server's CPU", r.ServerCPU, 500.0/60, 0.03)
		if r.Failed != r.Requests || r.Codes[loadgen.OK] != r.Requests {
			t.Errorf("%+v", r)
		}
		if n := int(target.asked.Load()); n <= r.Requests {
			t.Errorf("%d requests were sent, %d measured: want the warm-up left out", n, r.Requests)
		}
	})
}

func TestAnOpenLoopKeepsItsRateAndCountsFromWhenRequestsWereDue(t *testing.T) {
	for _, tt := range []struct {
		name   string
		rate   float64
		random bool
		places int
	}{
		{"a server with room", 10, false, 8},
		{"random arrivals", 10, true, 8},
		{"a server that is too slow builds up a queue", 40, false, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, err := loadgen.Run(t.Context(), loadgen.Load{
					Concurrency: 16, Rate: tt.rate, Random: tt.random, Seed: 1, Duration: 100 * time.Second, Timeout: time.Minute,
				}, newSteady(tt.places, 100*time.Millisecond))
				if err != nil {
					t.Fatal(err)
				}
				if tt.places > 2 {
					near(t, "requests", float64(r.Requests), 1000, 0.05)
					near(t, "median latency", r.Latency.P50, 100, 0.01)
				} else {
					// 20 a second are answered: half as many as were due, so
					// that the wait grows to half the run.
					near(t, "median latency", r.Latency.P50, 25000, 0.15)
					near(t, "longest latency", r.Latency.Max, 50000, 0.2)
				}
			})
		})
	}
}

func TestFailuresAreCountedByTheirCodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := newSteady(1, 100*time.Millisecond)
		target.code = func(n int64) string {
			if n%2 == 0 {
				return "overloaded"
			}
			return loadgen.OK
		}
		r, err := loadgen.Run(t.Context(), loadgen.Load{Concurrency: 1, Duration: time.Second, Timeout: time.Minute}, target)
		if err != nil {
			t.Fatal(err)
		}
		if bad, ok := r.Codes["overloaded"], r.Codes[loadgen.OK]; ok != 5 || bad < 5 || bad > 6 || r.Images != 15 {
			t.Errorf("%+v", r)
		}
		target.takes = time.Hour
		r, err = loadgen.Run(t.Context(), loadgen.Load{Concurrency: 3, Duration: time.Second, Timeout: 2 * time.Second}, target)
		if err != nil {
			t.Fatal(err)
		}
		if r.Codes[loadgen.CodeTimeout] != 3 || r.Latency != (loadgen.Latency{}) {
			t.Errorf("%+v", r)
		}
	})
}

func TestProcessorTimeThatIsNotKnownIsNotReported(t *testing.T) {
	for _, tt := range []struct {
		name          string
		before, after time.Duration
	}{
		{"no first reading", 0, time.Minute},
		{"no second reading", time.Minute, 0},
		{"a server that was started again", time.Minute, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				readings := make(chan time.Duration, 2)
				readings <- tt.before
				readings <- tt.after
				r, err := loadgen.Run(t.Context(), loadgen.Load{
					Concurrency: 1, Duration: time.Second, Timeout: time.Minute,
					ServerCPU: func() time.Duration { return <-readings },
				}, newSteady(1, 100*time.Millisecond))
				if err != nil {
					t.Fatal(err)
				}
				var object bytes.Buffer
				if err := r.WriteJSON(&object); err != nil {
					t.Fatal(err)
				}
				if r.Images == 0 || strings.Contains(object.String(), "server_cpu") {
					t.Errorf("%s", &object)
				}
			})
		})
	}
}

func TestLoadIsChecked(t *testing.T) {
	good := loadgen.Load{Concurrency: 1, Duration: 1, Timeout: 1}
	for name, spoil := range map[string]func(*loadgen.Load){
		"no concurrency":    func(l *loadgen.Load) { l.Concurrency = 0 },
		"a negative rate":   func(l *loadgen.Load) { l.Rate = -1 },
		"a rate of NaN":     func(l *loadgen.Load) { l.Rate = math.NaN() },
		"no duration":       func(l *loadgen.Load) { l.Duration = 0 },
		"a negative warmup": func(l *loadgen.Load) { l.Warmup = -1 },
		"no timeout":        func(l *loadgen.Load) { l.Timeout = 0 },
	} {
		l := good
		spoil(&l)
		if _, err := loadgen.Run(t.Context(), l, newSteady(1, 0)); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestTheReportIsReadByMachinesAndPeople(t *testing.T) {
	r := &loadgen.Report{
		Seconds: 10, Requests: 101, Codes: map[string]int{"ok": 99, "overloaded": 2}, Images: 1584,
		RequestsPerSecond: 9.9, ImagesPerSecond: 158.4, SentPerSecond: 124_567_890, ReceivedPerSecond: 999,
		Latency: loadgen.Latency{Mean: 1.25, P50: 1, P99: 7, Max: 9}, ClientCPU: 0.5,
	}
	var text, object bytes.Buffer
	if err := r.WriteTable(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"1584 in 10.0 s", "158.4 a second", "ok 99, overloaded 2", "124.6 MB/s", "999.0 B/s", "p99 7.0", "0.50 ms an image",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, &text)
		}
	}
	if strings.Contains(text.String(), "CPU server") {
		t.Errorf("an unknown figure is shown:\n%s", &text)
	}
	if err := r.WriteJSON(&object); err != nil {
		t.Fatal(err)
	}
	var back loadgen.Report
	if err := json.Unmarshal(object.Bytes(), &back); err != nil || back.Latency != r.Latency || back.Codes["overloaded"] != 2 {
		t.Errorf("%+v, error %v", back, err)
	}
}
