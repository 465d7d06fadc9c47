package loadgen

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// A Report is what a Load came to. Rates are over Seconds, from the beginning
// of the measurement to its last answer.
type Report struct {
	Seconds  float64        `json:"seconds"`
	Requests int            `json:"requests"`
	Codes    map[string]int `json:"codes"` // requests by their Answer's Code
	Images   int            `json:"images"`
	Failed   int            `json:"images_failed"`

	RequestsPerSecond float64 `json:"requests_per_second"` // answered OK
	ImagesPerSecond   float64 `json:"images_per_second"`
	SentPerSecond     float64 `json:"bytes_sent_per_second"`
	ReceivedPerSecond float64 `json:"bytes_received_per_second"`

	// Latency is that of the requests answered OK, in milliseconds.
	Latency Latency `json:"latency_ms"`

	// ClientCPU and ServerCPU are milliseconds of processor time an image; 0
	// where they could not be had.
	ClientCPU float64 `json:"client_cpu_ms_per_image,omitempty"`
	ServerCPU float64 `json:"server_cpu_ms_per_image,omitempty"`
}

// Latency holds milliseconds.
type Latency struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P95  float64 `json:"p95"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99.9"`
	Max  float64 `json:"max"`
}

// report sums up what was measured, with the processor time used meanwhile.
func (r *run) report(client, server time.Duration) *Report {
	rep := &Report{Requests: len(r.shots), Codes: map[string]int{}}
	var sent, received int64
	var latencies []float64
	for _, s := range r.shots {
		rep.Codes[s.answer.Code]++
		rep.Images += s.answer.Images
		rep.Failed += s.answer.Failed
		sent += s.answer.Sent
		received += s.answer.Received
		if s.answer.Code == OK {
			latencies = append(latencies, milliseconds(s.latency))
		}
	}
	rep.Seconds = max(r.closed.Sub(r.began), 0).Seconds()
	if rep.Seconds > 0 {
		rep.RequestsPerSecond = float64(rep.Codes[OK]) / rep.Seconds
		rep.ImagesPerSecond = float64(rep.Images) / rep.Seconds
		rep.SentPerSecond = float64(sent) / rep.Seconds
		rep.ReceivedPerSecond = float64(received) / rep.Seconds
	}
	rep.Latency = summarise(latencies)
	if rep.Images > 0 {
		rep.ClientCPU = milliseconds(client) / float64(rep.Images)
		rep.ServerCPU = milliseconds(server) / float64(rep.Images)
	}
	return rep
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// summarise takes latencies in any order; all is 0 if there are none.
func summarise(ms []float64) Latency {
	if len(ms) == 0 {
		return Latency{}
	}
	slices.Sort(ms)
	var sum float64
	for _, v := range ms {
		sum += v
	}
	return Latency{
		Mean: sum / float64(len(ms)),
		P50:  rank(ms, 0.5), P90: rank(ms, 0.9), P95: rank(ms, 0.95), P99: rank(ms, 0.99), P999: rank(ms, 0.999),
		Max: ms[len(ms)-1],
	}
}

// rank is the least value that a share of sorted values does not exceed.
func rank(sorted []float64, share float64) float64 {
	i := int(math.Ceil(share*float64(len(sorted)))) - 1
	return sorted[max(i, 0)]
}

// WriteJSON writes one indented object; durations are in milliseconds.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteTable writes a line a figure, in aligned columns.
func (r *Report) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, values ...any) {
		_, _ = fmt.Fprintf(t, name+"\t"+format+"\n", values...) // Flush reports
	}
	line("images", "%d in %.1f s\t%.1f a second", r.Images, r.Seconds, r.ImagesPerSecond)
	if r.Failed > 0 {
		line("images failed", "%d", r.Failed)
	}
	line("requests", "%d\t%.1f a second", r.Requests, r.RequestsPerSecond)
	line("answers", "%s", codeList(r.Codes))
	l := r.Latency
	line("latency ms", "mean %.1f  p50 %.1f  p90 %.1f  p95 %.1f  p99 %.1f  p99.9 %.1f  max %.1f", l.Mean, l.P50, l.P90, l.P95, l.P99, l.P999, l.Max)
	line("sent", "%s/s", bytesText(r.SentPerSecond))
	line("received", "%s/s", bytesText(r.ReceivedPerSecond))
	if r.ClientCPU > 0 {
		line("CPU client", "%.2f ms an image", r.ClientCPU)
	}
	if r.ServerCPU > 0 {
		line("CPU server", "%.2f ms an image", r.ServerCPU)
	}
	return t.Flush()
}

// codeList is the codes with their numbers, the usual one first.
func codeList(codes map[string]int) string {
	names := slices.SortedFunc(maps.Keys(codes), func(a, b string) int {
		if d := codes[b] - codes[a]; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	parts := make([]string, len(names))
	for i, n := range names {
		parts[i] = fmt.Sprintf("%s %d", n, codes[n])
	}
	return strings.Join(parts, ", ")
}

func bytesText(n float64) string {
	for _, unit := range []string{"B", "KB", "MB"} {
		if n < 1000 {
			return fmt.Sprintf("%.1f %s", n, unit)
		}
		n /= 1000
	}
	return fmt.Sprintf("%.1f GB", n)
}
