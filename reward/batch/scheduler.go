package batch

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/denseflow/densereward/reward"
)

// A Scheduler batches the samples of concurrent callers for one or more
// evaluators of one checkpoint. It is safe for concurrent use.
type Scheduler struct {
	cfg      Config
	keyer    *keyer
	preparer reward.Preparer // nil if the evaluator is none

	mu       sync.Mutex
	queue    queue
	slots    []*slot
	idle     []*slot // those without a batch
	cache    *cache
	flight   map[key]*work // wanted, keyed and not yet answered
	requests map[*request]struct{}
	shares   map[string]share // of clients
	samples  int              // admitted and not let go of
	bytes    int64
	rate     rate

	timer   *time.Timer // rings when a mode is due
	rings   time.Time   // when; zero if it does not
	closing bool
	drained chan struct{} // closed when closing and nothing is left
}

// New makes a Scheduler. Evaluators share the queue; each has one call of
// Evaluate at a time for each of its modes, and one that is listed twice has two. They must be of one
// checkpoint, and each must accept what the first one's reward.Preparer made.
func New(cfg Config, evaluators ...reward.Evaluator) (*Scheduler, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := sameCheckpoint(evaluators); err != nil {
		return nil, err
	}
	cfg.fillIn()
	s := &Scheduler{
		cfg:      cfg,
		keyer:    newKeyer(evaluators[0].Describe().Fingerprint),
		queue:    newQueue(&cfg, len(evaluators)),
		cache:    newCache(cfg.CacheBytes),
		flight:   map[key]*work{},
		requests: map[*request]struct{}{},
		shares:   map[string]share{},
		drained:  make(chan struct{}),
	}
	s.preparer, _ = evaluators[0].(reward.Preparer)
	for i, e := range evaluators {
		s.slots = append(s.slots, slotsOf(i, e, cfg.MaxBatch)...)
	}
	s.idle = slices.Clone(s.slots)
	s.timer = time.AfterFunc(math.MaxInt64, s.ring)
	s.timer.Stop()
	return s, nil
}

// Score evaluates jobs and returns one Outcome for each, in order. It returns
// when all are answered or when ctx ends, whichever is first; what has no
// result by then has the error reward.ErrDeadlineExceeded or
// reward.ErrCanceled, or the reward.Error that is ctx's cause.
//
// The error is about the request as a whole, of which then nothing is
// answered: an *OverloadError if the queue is full, a
// reward.ErrTooManyImages or reward.ErrBodyTooLarge if it never has the room,
// ErrClosed after Shutdown or when that could not wait for the request.
func (s *Scheduler) Score(ctx context.Context, jobs []Job) ([]Outcome, error) {
	req, works := newRequest(ctx, jobs, time.Now())
	if err := s.admit(req, works); err != nil {
		for i := range jobs {
			if jobs[i].Release != nil {
				jobs[i].Release()
			}
		}
		return nil, err
	}
	select {
	case <-req.done:
	case <-ctx.Done():
		s.abandon(req, context.Cause(ctx))
	}
	if req.err != nil {
		return nil, req.err
	}
	return req.outcomes, nil
}

// admit puts all works of a request on the queue, or none.
func (s *Scheduler) admit(req *request, works []work) error {
	var bytes int64
	for i := range works {
		bytes += works[i].bytes
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.room(req.client, len(works), bytes); err != nil {
		s.cfg.Observer.Count(Refused, len(works))
		return err
	}
	if len(works) == 0 {
		close(req.done)
		return nil
	}
	s.cfg.Observer.Count(Admitted, len(works))
	s.samples += len(works)
	s.bytes += bytes
	s.addShare(req.client, len(works), bytes)
	s.requests[req] = struct{}{}
	for i := range works {
		w := &works[i]
		w.enter(waiting, req.admitted)
		s.queue.addWaiting(w)
	}
	s.dispatch()
	return nil
}

// room says why samples of bytes in all cannot be admitted; nil if they can.
func (s *Scheduler) room(client string, samples int, bytes int64) error {
	switch {
	case s.closing:
		return ErrClosed
	case samples > s.cfg.QueueSamples:
		return reward.ErrTooManyImages.With("%d samples, and the queue takes %d", samples, s.cfg.QueueSamples)
	case bytes > s.cfg.QueueBytes:
		return reward.ErrBodyTooLarge.With("the images take %d bytes, and the queue takes %d", bytes, s.cfg.QueueBytes)
	}
	overSamples := float64(s.samples + samples - s.cfg.QueueSamples)
	overBytes := float64(s.bytes + bytes - s.cfg.QueueBytes)
	if s.overQuota(client, samples, bytes) {
		overSamples = max(overSamples, float64(samples)) // when as many of its own are answered
	} else if overSamples <= 0 && overBytes <= 0 {
		return nil
	}
	// Bytes leave the queue with the samples that hold them.
	perSample := float64(s.bytes) / float64(max(s.samples, 1))
	if perSample > 0 {
		overSamples = max(overSamples, overBytes/perSample)
	}
	return &OverloadError{
		RetryAfter: s.rate.retryAfter(overSamples, s.healthy()),
		Samples:    s.samples,
		Bytes:      s.bytes,
	}
}

// dispatch starts all that can start: preparation on free workers, batches on
// idle evaluators. It is called, locked, after every change.
func (s *Scheduler) dispatch() {
	now := time.Now()
	for {
		for w := s.queue.nextToPrepare(); w != nil; w = s.queue.nextToPrepare() {
			s.beginPreparing(w, now)
		}
		if len(s.idle) == 0 {
			return
		}
		mode, next := s.queue.startable(now, s.idleLimit)
		if mode == nil {
			s.ringAt(next)
			return
		}
		// Evaluators that are idle together share what there is.
		idle := s.idleFor(mode.mode)
		for i, sl := range idle {
			if mode.ready.len == 0 {
				break
			}
			share := ceilDiv(mode.ready.len, len(idle)-i)
			s.beginEvaluating(sl, s.queue.take(mode, min(share, int(sl.limit.Load()))), now)
		}
	}
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// ringAt sets the timer for the next mode that becomes due.
func (s *Scheduler) ringAt(t time.Time) {
	if t.Equal(s.rings) {
		return
	}
	s.rings = t
	if t.IsZero() {
		s.timer.Stop()
		return
	}
	s.timer.Reset(time.Until(t))
}

// ring is the timer's callback.
func (s *Scheduler) ring() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rings = time.Time{}
	s.dispatch()
}

// abandon answers with cause every ticket of req that is still open.
func (s *Scheduler) abandon(req *request, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if req.open == 0 {
		return
	}
	event, err := departure(cause)
	s.cfg.Observer.Count(event, req.open)
	for i := range req.tickets {
		if t := &req.tickets[i]; t.work != nil {
			w := t.work
			s.answer(t, reward.Result{Err: err})
			s.leave(w, t)
		}
	}
	s.dispatch()
}

// departure is how the end of a caller's context is counted and answered.
func departure(cause error) (Event, error) {
	if errors.Is(cause, context.DeadlineExceeded) {
		return Expired, reward.ErrDeadlineExceeded.Wrap(cause)
	}
	return Cancelled, reward.AsError(cause, reward.ErrCanceled)
}

// answer gives a ticket its result. The last one ends the request.
func (s *Scheduler) answer(t *ticket, r reward.Result) {
	t.req.outcomes[t.index] = Outcome{Result: r, Cached: t.cached, Timing: t.timing}
	t.work = nil
	s.addShare(t.req.client, -1, -t.bytes)
	t.req.open--
	if t.req.open == 0 {
		delete(s.requests, t.req)
		close(t.req.done)
	}
}

// leave takes a ticket off its work, and the work out of the queue if that was
// the last that wanted it.
func (s *Scheduler) leave(w *work, t *ticket) {
	for i := range w.tickets {
		if w.tickets[i] == t {
			w.tickets = append(w.tickets[:i], w.tickets[i+1:]...)
			break
		}
	}
	if len(w.tickets) > 0 {
		w.samples--
		s.samples--
		return
	}
	s.forget(w)
	switch w.state {
	case waiting, ready:
		w.remove()
		s.finish(w)
	case preparing:
		w.cancel()
	case evaluating:
		s.unwanted(w.run)
	}
}

// forget makes w unknown to identical work that comes later.
func (s *Scheduler) forget(w *work) {
	if w.hasFile {
		delete(s.flight, w.file)
	}
	if w.hasPixels {
		delete(s.flight, w.pixels)
	}
	w.hasFile, w.hasPixels = false, false
}

// finish lets go of a work that is on no list any more.
func (s *Scheduler) finish(w *work) {
	s.forget(w)
	if w.state == waiting || w.state == preparing {
		w.req.settle(time.Now())
	}
	w.state = finished
	if w.cancel != nil {
		w.cancel()
	}
	if w.release != nil {
		w.release()
	}
	w.sample, w.source, w.load, w.release = reward.Sample{}, nil, nil, nil
	s.samples -= w.samples
	s.bytes -= w.bytes
	s.checkDrained()
}
