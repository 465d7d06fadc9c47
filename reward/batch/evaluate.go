package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/denseflow/densereward/internal/memorylimit"
	"github.com/denseflow/densereward/reward"
)

// slot is the place for one call of Evaluate at a time. An evaluator of several modes
// has one for each, so that a short answer does not wait until long thoughts end.
type slot struct {
	evaluator reward.Evaluator
	index     int           // of the evaluator
	mode      reward.Mode   // the only one it takes; "" takes all but others
	others    []reward.Mode // those of the evaluator's other slots
	run       *run          // nil if idle

	// limit is below MaxBatch for a while after the evaluator ran out of memory.
	limit *memorylimit.Limit
}

// run is one batch on its slot.
type run struct {
	slot   *slot
	works  []*work
	ctx    context.Context
	cancel context.CancelFunc
	wanted int         // works that somebody still waits for
	grace  *time.Timer // started when wanted is 0
	hung   bool        // grace is over and Evaluate has not returned
}

// hangGrace is how long an evaluator may take to notice that nobody waits any
// more.
const hangGrace = time.Second

// slotsOf makes the slots of an evaluator, that of its default mode first.
func slotsOf(index int, e reward.Evaluator, maxBatch int) []*slot {
	limit := memorylimit.New(maxBatch) // of the device's memory, which they share
	slots := []*slot{{evaluator: e, index: index, limit: limit}}
	modes := e.Describe().Modes
	for _, m := range modes[min(1, len(modes)):] {
		slots[0].others = append(slots[0].others, m)
		slots = append(slots, &slot{evaluator: e, index: index, mode: m, limit: limit})
	}
	return slots
}

func (sl *slot) takes(m reward.Mode) bool {
	if sl.mode != "" {
		return sl.mode == m
	}
	return !slices.Contains(sl.others, m)
}

// idleFor lists the slots that could start on samples of a mode.
func (s *Scheduler) idleFor(m reward.Mode) []*slot {
	var slots []*slot
	for _, sl := range s.idle {
		if sl.takes(m) {
			slots = append(slots, sl)
		}
	}
	return slots
}

// idleLimit is how many samples of a mode the first of them takes; 0 without one.
func (s *Scheduler) idleLimit(m reward.Mode) int {
	for _, sl := range s.idle {
		if sl.takes(m) {
			return int(sl.limit.Load())
		}
	}
	return 0
}

// count is how many evaluators have a slot for which is true.
func (s *Scheduler) count(is func(*slot) bool) int {
	found := map[int]bool{}
	for _, sl := range s.slots {
		if is(sl) {
			found[sl.index] = true
		}
	}
	return len(found)
}

// healthy counts the evaluators that do not hang.
func (s *Scheduler) healthy() int {
	return s.count(func(*slot) bool { return true }) - s.hung()
}

func (s *Scheduler) hung() int {
	return s.count(func(sl *slot) bool { return sl.run != nil && sl.run.hung })
}

// beginEvaluating starts a batch on an idle slot.
func (s *Scheduler) beginEvaluating(sl *slot, works []*work, now time.Time) {
	r := &run{slot: sl, works: works, wanted: len(works)}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	sl.run = r
	s.idle = slices.DeleteFunc(s.idle, func(o *slot) bool { return o == sl })
	for _, w := range works {
		w.run = r
		waited := w.enter(evaluating, now)
		for _, t := range w.tickets {
			if t.joined.IsZero() {
				t.timing.Wait = waited
			}
		}
	}
	go s.evaluate(r)
}

// evaluate runs a batch and frees its slot.
func (s *Scheduler) evaluate(r *run) {
	s.attempt(r, r.works)
	s.mu.Lock()
	defer s.mu.Unlock()
	r.cancel()
	if r.grace != nil {
		r.grace.Stop()
	}
	r.slot.run = nil
	s.idle = append(s.idle, r.slot)
	r.slot.limit.Raised(time.Now())
	s.checkDrained()
	s.dispatch()
}

// attempt evaluates works in one call, or, if that takes more memory than
// there is, in halves, and what follows in batches of that size.
func (s *Scheduler) attempt(r *run, works []*work) {
	if limit := int(r.slot.limit.Load()); len(works) > limit {
		s.attempt(r, works[:limit])
		s.attempt(r, works[limit:])
		return
	}
	works, samples := s.stillWanted(works)
	if len(works) == 0 {
		return
	}
	start := time.Now()
	results, err := call(r.ctx, r.slot.evaluator, samples)
	took := time.Since(start)
	if errors.Is(err, reward.ErrOutOfMemory) && len(works) > 1 {
		half := s.lowerLimit(r.slot, len(works), took, err)
		s.attempt(r, works[:half])
		s.attempt(r, works[half:])
		return
	}
	s.endEvaluating(r, works, results, err, took)
}

// call is Evaluate, or Generate, with its panics and miscounts contained.
func call(ctx context.Context, e reward.Evaluator, samples []reward.Sample) ([]reward.Result, error) {
	evaluate := e.Evaluate
	if g, ok := e.(reward.Generator); ok && samples[0].Mode == reward.ModeGenerate { // a batch is of one mode
		evaluate = g.Generate
	}
	var results []reward.Result
	err := contain("evaluate", func() (err error) {
		results, err = evaluate(ctx, samples)
		return err
	})
	if err == nil && len(results) != len(samples) {
		err = fmt.Errorf("%d results for %d samples", len(results), len(samples))
	}
	return results, err
}

// stillWanted drops the works of a batch that nobody waits for, which may be
// because time has just run out, and gives the samples of the others.
func (s *Scheduler) stillWanted(works []*work) ([]*work, []reward.Sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted := make([]*work, 0, len(works))
	samples := make([]reward.Sample, 0, len(works))
	for _, w := range works {
		s.expire(w)
		if len(w.tickets) == 0 {
			s.endWork(w)
			continue
		}
		wanted = append(wanted, w)
		samples = append(samples, w.sample)
	}
	return wanted, samples
}

// endEvaluating answers the tickets of works after a call that took d.
func (s *Scheduler) endEvaluating(r *run, works []*work, results []reward.Result, err error, d time.Duration) {
	var kept []reward.Result
	if err == nil && s.cache != nil {
		kept = cloneResults(results)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg.Observer.Batch(len(works), d)
	if err != nil {
		s.failEvaluating(r, works, err)
		return
	}
	s.rate.add(len(works), d)
	now := time.Now()
	for i, w := range works {
		if w.hasPixels && results[i].Err == nil {
			s.cache.add(w.pixels, kept[i])
		}
		for _, t := range w.tickets {
			if t.joined.IsZero() {
				t.timing.Evaluate = now.Sub(w.since)
			} else {
				t.timing.Wait = now.Sub(t.joined)
			}
			s.scored(t, results[i])
		}
		s.endWork(w)
	}
}

// endWork lets go of a work whose tickets are answered.
func (s *Scheduler) endWork(w *work) {
	if len(w.tickets) > 0 {
		w.run.wanted--
	}
	w.tickets = nil
	s.finish(w)
}

// expire answers the tickets of w whose context has ended.
func (s *Scheduler) expire(w *work) {
	for _, t := range slices.Backward(w.tickets) { // leave shortens the list
		if t.req.ctx.Err() != nil {
			event, err := departure(context.Cause(t.req.ctx))
			s.cfg.Observer.Count(event, 1)
			s.answer(t, reward.Result{Err: err})
			s.leave(w, t)
		}
	}
}

// scored answers a ticket with what the evaluator found.
func (s *Scheduler) scored(t *ticket, r reward.Result) {
	event := Scored
	if r.Err != nil {
		event = SampleFailed
	}
	s.cfg.Observer.Count(event, 1)
	s.cfg.Observer.Stage(StageQueue, t.timing.Queue)
	s.cfg.Observer.Stage(StagePrepare, t.timing.Prepare)
	s.cfg.Observer.Stage(StageWait, t.timing.Wait)
	s.cfg.Observer.Stage(StageEvaluate, t.timing.Evaluate)
	s.answer(t, r)
}

// failEvaluating answers the tickets of works with the error of their batch.
func (s *Scheduler) failEvaluating(r *run, works []*work, err error) {
	event := EvaluatorFailed
	switch {
	case isPanic(err):
		event = EvaluatorPanicked
		s.logPanic(err)
	case r.ctx.Err() == nil:
		s.cfg.Logger.Error("evaluator failed", "samples", len(works), "error", err)
	}
	if errors.Is(err, reward.ErrOutOfMemory) {
		s.cfg.Observer.Count(OutOfMemory, 1)
	}
	err = reward.ErrEvaluatorFailed.Wrap(err)
	for _, w := range works {
		s.cfg.Observer.Count(event, len(w.tickets))
		for _, t := range w.tickets {
			s.answer(t, reward.Result{Err: err})
		}
		s.endWork(w)
	}
}

// logPanic tells the operator where a panic arose.
func (s *Scheduler) logPanic(err error) {
	var p *PanicError
	if errors.As(err, &p) {
		s.cfg.Logger.Error("contained a panic", "where", p.Where, "value", fmt.Sprint(p.Value), "stack", string(p.Stack))
	}
}

// unwanted notes that nobody waits any more for one work of r. With the last,
// the evaluator is told to stop.
func (s *Scheduler) unwanted(r *run) {
	r.wanted--
	if r.wanted > 0 {
		return
	}
	r.cancel()
	r.grace = time.AfterFunc(hangGrace, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if r.slot.run == r {
			r.hung = true
			s.cfg.Observer.Count(EvaluatorHung, 1)
			s.cfg.Logger.Error("evaluator does not return although nobody waits for it", "samples", len(r.works))
		}
	})
}

// lowerLimit halves the batch limit of a slot whose evaluator had no memory for
// n samples, and returns the half.
func (s *Scheduler) lowerLimit(sl *slot, n int, d time.Duration, err error) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	half, now := n/2, time.Now()
	raise := sl.limit.Lower(half, now)
	s.cfg.Observer.Batch(n, d)
	s.cfg.Observer.Count(OutOfMemory, 1)
	s.cfg.Logger.Warn("evaluator out of memory: halving its batches",
		"samples", n, "limit", sl.limit.Load(), "until", raise, "error", err)
	return half
}
