package server

import "time"

// stopwatch measures the stages of one request.
type stopwatch struct {
	now         func() time.Time
	first, last time.Time
	laps        []lap
}

type lap struct {
	stage  string
	length time.Duration
}

func startWatch(now func() time.Time) *stopwatch {
	t := now()
	return &stopwatch{now: now, first: t, last: t}
}

// lap ends a stage that began where the one before ended.
func (w *stopwatch) lap(stage string) {
	t := w.now()
	w.laps = append(w.laps, lap{stage, t.Sub(w.last)})
	w.last = t
}

// milliseconds are the laps and their total.
func (w *stopwatch) milliseconds() map[string]float64 {
	m := map[string]float64{"total": milliseconds(w.last.Sub(w.first))}
	for _, l := range w.laps {
		m[l.stage] = milliseconds(l.length)
	}
	return m
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
