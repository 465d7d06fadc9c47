package server

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/server/telemetry"
	"github.com/denseflow/densereward/reward/wire"
)

// maxTimeout bounds what a client may ask for, so that seconds fit a Duration.
const maxTimeout = 24 * time.Hour

// DefaultTimeout is how long a request may take if nobody says otherwise.
const DefaultTimeout = 10 * time.Minute

// withDeadline is the request's context, cut at the time that the client says
// it will wait, or after standard if it does not say.
func withDeadline(r *http.Request, standard time.Duration) (context.Context, context.CancelFunc, error) {
	text := r.Header.Get(wire.HeaderTimeout)
	if text == "" {
		ctx, cancel := context.WithTimeout(r.Context(), standard)
		return ctx, cancel, nil
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(seconds) || seconds <= 0 {
		return nil, nil, reward.ErrInvalidValue.With("%s: want positive decimal seconds, got %.40q", wire.HeaderTimeout, text)
	}
	timeout := time.Duration(min(seconds, maxTimeout.Seconds()) * float64(time.Second))
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	return ctx, cancel, nil
}

// stopwatch measures the stages of one request.
type stopwatch struct {
	now         func() time.Time
	first, last time.Time
	laps        []telemetry.Stage
}

func startWatch(now func() time.Time) *stopwatch {
	t := now()
	return &stopwatch{now: now, first: t, last: t}
}

// lap ends a stage that began where the one before ended.
func (w *stopwatch) lap(stage string) {
	t := w.now()
	w.laps = append(w.laps, telemetry.Stage{Name: stage, Took: t.Sub(w.last)})
	w.last = t
}

// milliseconds are the laps and their total.
func (w *stopwatch) milliseconds() map[string]float64 {
	m := map[string]float64{"total": milliseconds(w.last.Sub(w.first))}
	for _, l := range w.laps {
		m[l.Name] = milliseconds(l.Took)
	}
	return m
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
