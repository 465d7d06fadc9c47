package batch

import (
	"time"

	"github.com/denseflow/densereward/reward"
)

// queue decides what is prepared and evaluated next. It does no locking,
// starts no goroutine and reads no clock: the Scheduler does.
type queue struct {
	workers  int // samples prepared at a time
	ahead    int // samples prepared or being prepared, at most
	maxDelay time.Duration
	eager    bool

	waiting   fifo
	modes     []*modeQueue
	readyLen  int // of all modes
	preparing int
}

// modeQueue holds the ready samples of one mode. Modes do not share a batch: a
// short answer would wait for its neighbours' long thoughts.
type modeQueue struct {
	mode  reward.Mode
	ready fifo
}

// patience is how many MaxDelays a sample waits for others of its own request
// that are still being prepared: they are certain to come, and the request
// is not answered without them.
const patience = 10

func newQueue(c *Config, evaluators int) queue {
	return queue{
		workers:  c.Workers,
		ahead:    c.MaxBatch*evaluators + c.Workers,
		maxDelay: c.MaxDelay,
		eager:    c.Eager,
	}
}

// nextToPrepare takes the sample that a worker should prepare now; nil if all
// workers are taken or enough is prepared ahead.
func (q *queue) nextToPrepare() *work {
	if q.preparing >= q.workers || q.preparing+q.readyLen >= q.ahead {
		return nil
	}
	w := q.waiting.pop()
	if w != nil {
		q.preparing++
	}
	return w
}

// addReady puts w, which has been prepared, on its mode's queue.
func (q *queue) addReady(w *work) {
	q.ofMode(w.sample.Mode).ready.push(w)
	q.readyLen++
}

// ofMode finds the queue of a mode or makes it.
func (q *queue) ofMode(m reward.Mode) *modeQueue {
	for _, l := range q.modes {
		if l.mode == m {
			return l
		}
	}
	l := &modeQueue{mode: m}
	q.modes = append(q.modes, l)
	return l
}

// take removes up to n works from the front of l.
func (q *queue) take(l *modeQueue, n int) []*work {
	works := make([]*work, 0, min(n, l.ready.len))
	for len(works) < cap(works) {
		works = append(works, l.ready.pop())
	}
	q.readyLen -= len(works)
	return works
}

// drop removes w, which is waiting or ready.
func (q *queue) drop(w *work) {
	if w.state == ready {
		q.readyLen--
	}
	w.remove()
}

// startable is the queue of the mode whose samples an idle evaluator that takes up to limit
// should start on now: of those that are due, the one that has waited longest.
// Without one, it is the time to ask again; zero if only another event can
// change the answer. nextToPrepare must have been exhausted before.
func (q *queue) startable(now time.Time, limit int) (*modeQueue, time.Time) {
	var best *modeQueue
	var next time.Time
	for _, l := range q.modes {
		if l.ready.len == 0 {
			continue
		}
		due := q.due(l)
		if l.ready.len < limit && !q.exhausted() && due.After(now) {
			if next.IsZero() || due.Before(next) {
				next = due
			}
			continue
		}
		if best == nil || l.ready.head.since.Before(best.ready.head.since) {
			best = l
		}
	}
	return best, next
}

// exhausted reports that no sample now known can join the ready ones, so that
// there is nothing to wait for: none is being prepared and, if some wait for
// it, that is because enough are ready. When there is none at all, requests yet
// to come may be worth MaxDelay.
func (q *queue) exhausted() bool {
	return q.preparing == 0 && (q.waiting.len > 0 || q.eager)
}

// due is when the first sample of l has waited long enough for company.
func (q *queue) due(l *modeQueue) time.Time {
	due := l.ready.head.since.Add(patience * q.maxDelay)
	var last *request // samples of one request lie side by side
	for w := l.ready.head; w != nil; w = w.next {
		if w.req == last {
			continue
		}
		last = w.req
		if w.req.unready > 0 {
			continue
		}
		if d := w.req.lastReady.Add(q.maxDelay); d.Before(due) {
			due = d
		}
	}
	return due
}
