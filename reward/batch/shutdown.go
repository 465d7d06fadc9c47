package batch

import (
	"context"
)

// Shutdown admits nothing more and waits until what was admitted is answered
// and no worker or evaluator is busy. When ctx ends first, it answers the rest
// with ErrClosed, tells the evaluators to stop, and returns ctx's error; their
// goroutines end when they return. It may be called more than once.
func (s *Scheduler) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	s.queue.eager = true // no more requests will come
	s.dispatch()
	s.checkDrained()
	s.mu.Unlock()
	select {
	case <-s.drained:
		return nil
	case <-ctx.Done():
	}
	for _, req := range s.open() {
		s.giveUp(req)
	}
	return context.Cause(ctx)
}

// giveUp ends a request as a whole, so that its caller can try elsewhere.
func (s *Scheduler) giveUp(req *request) {
	s.mu.Lock()
	if req.open > 0 {
		req.err = ErrClosed
	}
	s.mu.Unlock()
	s.abandon(req, ErrClosed)
}

// open lists the requests that are not answered.
func (s *Scheduler) open() []*request {
	s.mu.Lock()
	defer s.mu.Unlock()
	requests := make([]*request, 0, len(s.requests))
	for req := range s.requests {
		requests = append(requests, req)
	}
	return requests
}

// checkDrained tells Shutdown when nothing is left.
func (s *Scheduler) checkDrained() {
	if !s.closing || s.samples > 0 || len(s.idle) < len(s.slots) {
		return
	}
	select {
	case <-s.drained:
	default:
		s.timer.Stop()
		close(s.drained)
	}
}

// Stats is what a Scheduler holds at one moment.
type Stats struct {
	Samples int   // admitted and not let go of
	Bytes   int64 // that they hold

	Waiting, Preparing, Ready int // samples by their state
	Evaluators                int // places for a batch
	Busy                      int // evaluators with a batch
	Hung                      int // busy evaluators that do not return although nobody waits

	MaxBatchSize  int     // largest batch now; below Config.MaxBatch after running out of memory
	SamplesPerSec float64 // of all evaluators when busy, of late; 0 if not known

	CacheEntries int
	CacheBytes   int64
}

// Stats takes a look at s.
func (s *Scheduler) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting, ready := s.queue.lengths()
	st := Stats{
		Samples:    s.samples,
		Bytes:      s.bytes,
		Waiting:    waiting,
		Preparing:  s.queue.preparing,
		Ready:      ready,
		Evaluators: s.count(func(*slot) bool { return true }),
		Busy:       s.count(func(sl *slot) bool { return sl.run != nil }),
		Hung:       s.hung(),
	}
	for _, sl := range s.slots {
		st.MaxBatchSize = max(st.MaxBatchSize, int(sl.limit.Load()))
	}
	st.SamplesPerSec = s.rate.perSecond() * float64(st.Evaluators-st.Hung)
	st.CacheEntries, st.CacheBytes = s.cache.size()
	return st
}
