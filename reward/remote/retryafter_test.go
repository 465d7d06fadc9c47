package remote

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/denseflow/densereward/internal/memnet"
	"github.com/denseflow/densereward/reward"
)

// TestThePauseThatAnEndpointAsksForIsKept runs in a bubble whose clock stands still but
// for pauses, so that they are exact.
func TestThePauseThatAnEndpointAsksForIsKept(t *testing.T) {
	date := func(after time.Duration) string { return time.Now().Add(after).UTC().Format(http.TimeFormat) }
	for name, c := range map[string]struct {
		status   int
		after    func() string
		deadline time.Duration
		waited   time.Duration // between the tries; 0 is the endpoint's own pause
		failure  string        // of a sample that is not tried again
	}{
		"seconds with 429":               {status: 429, after: func() string { return "7" }, waited: 7 * time.Second},
		"seconds with 503":               {status: 503, after: func() string { return "90" }, waited: 90 * time.Second},
		"a date":                         {status: 429, after: func() string { return date(20 * time.Second) }, waited: 20 * time.Second},
		"a date with 503":                {status: 503, after: func() string { return date(3 * time.Second) }, waited: 3 * time.Second},
		"a date that has passed":         {status: 503, after: func() string { return date(-time.Hour) }},
		"what is no time":                {status: 429, after: func() string { return "soon" }},
		"a deadline that leaves it":      {status: 429, after: func() string { return "7" }, deadline: 8 * time.Second, waited: 7 * time.Second},
		"a deadline that comes first":    {status: 429, after: func() string { return "7" }, deadline: 5 * time.Second, failure: "status 429: full; it asks for a pause of 7s, and the deadline comes first"},
		"longer than a try may last":     {status: 503, after: func() string { return "3600" }, failure: "it asks for a pause of 1h0m0s, more than the timeout of 3m0s"},
		"a date long after any deadline": {status: 503, after: func() string { return date(24 * time.Hour) }, failure: "it asks for a pause of 24h0m0s, more than"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var tries []time.Time
				j, stop := judgeInMemory(t, func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body) // or the connection lingers
					if tries = append(tries, time.Now()); len(tries) > 1 {
						say(w, threeScores, "stop")
						return
					}
					w.Header().Set("Retry-After", c.after())
					http.Error(w, "full", c.status)
				})
				defer stop()
				ctx := t.Context()
				if c.deadline > 0 {
					limited, cancel := context.WithTimeout(ctx, c.deadline)
					defer cancel()
					ctx = limited
				}
				began := time.Now()
				results, err := j.Evaluate(ctx, samples("a"))
				if err != nil {
					t.Fatal(err)
				}
				if c.failure != "" {
					failedAtOnce(t, results[0], c.failure, len(tries), time.Since(began))
					return
				}
				if results[0].Err != nil || len(tries) != 2 {
					t.Fatalf("error %v after %d tries, want none after 2", results[0].Err, len(tries))
				}
				if got := tries[1].Sub(tries[0]); c.waited == 0 && got > 2*time.Millisecond || c.waited > 0 && got != c.waited {
					t.Errorf("waited %v, want %v", got, c.waited)
				}
			})
		})
	}
}

// failedAtOnce fails unless a sample failed with an error that says why, after one try.
func failedAtOnce(t *testing.T, r reward.Result, why string, tries int, took time.Duration) {
	t.Helper()
	if r.Err == nil || !strings.Contains(r.Err.Error(), why) || r.Scores != nil {
		t.Errorf("error %v, want %q in it", r.Err, why)
	}
	if tries != 1 || took != 0 {
		t.Errorf("%d tries, %v; want 1 at once", tries, took)
	}
}

// judgeInMemory is a judge behind a server in this bubble.
func judgeInMemory(t *testing.T, handler http.HandlerFunc) (*Judge, func()) {
	listener := memnet.New()
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Hour}
	go func() { _ = server.Serve(listener) }()
	transport := &http.Transport{DialContext: listener.DialContext}
	j, err := NewJudge(file(t, "unifiedreward-2"), "a-model", Options{URL: "http://judge/v1", Pause: time.Millisecond, Client: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	return j, func() {
		transport.CloseIdleConnections()
		_ = server.Close()
	}
}
