package batch

import (
	"context"
	"time"

	"github.com/denseflow/densereward/reward"
)

// beginPreparing starts a worker on w.
func (s *Scheduler) beginPreparing(w *work, now time.Time) {
	queued := w.enter(preparing, now)
	for _, t := range w.tickets {
		t.timing.Queue = queued
	}
	w.ctx, w.cancel = context.WithCancel(context.WithoutCancel(w.req.ctx))
	go s.prepare(w)
}

// prepare is one worker's job: decode, ask the cache, do the host's share. The
// cache is asked first if the file tells what the pixels are.
func (s *Scheduler) prepare(w *work) {
	if s.cache != nil && w.source != nil && s.settledByFile(w, s.keyer.fileKey(&w.sample, w.source)) {
		return
	}
	err := contain("load", func() error { return load(w) })
	if err == nil && s.cache != nil && s.settledByPixels(w, s.keyer.pixelKey(&w.sample)) {
		return
	}
	if err == nil && s.preparer != nil {
		err = contain("prepare", func() error { return s.preparer.Prepare(w.ctx, &w.sample) })
	}
	s.endPreparing(w, err)
}

// load decodes the image of w if it has not been decoded.
func load(w *work) error {
	if w.load != nil {
		image, err := w.load(w.ctx)
		if err != nil {
			return err
		}
		w.sample.Image = image
	}
	if w.sample.Image == nil {
		return ErrNoImage
	}
	return nil
}

// settledByFile reports that w need not be decoded; see settledBy.
func (s *Scheduler) settledByFile(w *work, k key) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.settledBy(w, k) {
		return true
	}
	s.flight[k] = w
	w.file, w.hasFile = k, true
	return false
}

// settledByPixels reports that w need not go on; see settledBy.
func (s *Scheduler) settledByPixels(w *work, k key) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.hasFile {
		s.cache.addFile(w.file, k)
	}
	if s.settledBy(w, k) {
		return true
	}
	s.cfg.Observer.Count(CacheMiss, 1)
	s.flight[k] = w
	w.pixels, w.hasPixels = k, true
	return false
}

// settledBy reports that w is done with: its answer is in the cache, identical
// work is in flight, or nobody waits any more. Otherwise identical work that
// comes later is to find w. s.mu is held.
func (s *Scheduler) settledBy(w *work, k key) bool {
	if len(w.tickets) == 0 {
		s.endWorker(w)
		return true
	}
	now := time.Now()
	if result, ok := s.cache.get(k); ok {
		s.cfg.Observer.Count(CacheHit, 1)
		for _, t := range w.tickets {
			t.prepared(w, now)
			s.scored(t, result)
		}
		s.endWorker(w)
		return true
	}
	if other := s.flight[k]; other != nil {
		s.cfg.Observer.Count(CacheShared, 1)
		s.join(w, other, now)
		s.endWorker(w)
		return true
	}
	return false
}

// prepared notes that the work of a ticket, w, ends at now without having been
// evaluated.
func (t *ticket) prepared(w *work, now time.Time) {
	t.cached = true
	if t.joined.IsZero() {
		t.timing.Prepare = now.Sub(w.since)
	} else {
		t.timing.Wait = now.Sub(t.joined)
	}
}

// join moves the tickets of w to other, which does the same work. They still
// count as samples of the queue; the image of w does not.
func (s *Scheduler) join(w, other *work, now time.Time) {
	for _, t := range w.tickets {
		if t.joined.IsZero() {
			t.prepared(w, now)
			t.joined = now
		}
		t.work = other
		other.tickets = append(other.tickets, t)
		other.samples++
		w.samples--
	}
	w.tickets = nil
}

// endWorker frees the worker that had w, which goes no further.
func (s *Scheduler) endWorker(w *work) {
	s.queue.endPreparing(w.sample.Mode)
	s.finish(w)
	s.dispatch()
}

// endPreparing frees the worker and makes w ready, unless it failed or nobody
// waits any more.
func (s *Scheduler) endPreparing(w *work, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if err != nil && len(w.tickets) > 0 {
		s.failPreparing(w, err)
	}
	if len(w.tickets) == 0 {
		s.endWorker(w)
		return
	}
	s.queue.endPreparing(w.sample.Mode)
	took := w.enter(ready, now)
	for _, t := range w.tickets {
		if t.joined.IsZero() {
			t.timing.Prepare = took
		}
	}
	w.req.settle(now)
	s.queue.addReady(w)
	s.dispatch()
}

// failPreparing answers the tickets of w with err.
func (s *Scheduler) failPreparing(w *work, err error) {
	event := PrepareFailed
	if isPanic(err) {
		event = PreparePanicked
		s.logPanic(err)
	}
	s.cfg.Observer.Count(event, len(w.tickets))
	err = reward.AsError(err, reward.ErrInternal)
	for _, t := range w.tickets {
		s.answer(t, reward.Result{Err: err})
	}
	w.tickets = nil
}
