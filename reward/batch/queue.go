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

	modes     []*modeQueue
	turn      int // the mode that is prepared next
	preparing int // of all modes
}

// modeQueue holds the samples of one mode. Modes do not share a batch, a short answer
// would wait for its neighbours' long thoughts, nor what is prepared ahead.
type modeQueue struct {
	mode           reward.Mode
	waiting, ready fair
	preparing      int
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
// workers are taken or enough is prepared ahead. Modes take turns.
func (q *queue) nextToPrepare() *work {
	if q.preparing >= q.workers {
		return nil
	}
	for i := range q.modes {
		l := q.modes[(q.turn+i)%len(q.modes)]
		if q.enough(l) {
			continue
		}
		if w := l.waiting.pop(); w != nil {
			q.turn = (q.turn + i + 1) % len(q.modes)
			l.preparing++
			q.preparing++
			return w
		}
	}
	return nil
}

// enough reports that as much of a mode is prepared as should be.
func (q *queue) enough(l *modeQueue) bool { return l.preparing+l.ready.len >= q.ahead }

// addWaiting puts w, which was admitted, on its mode's queue.
func (q *queue) addWaiting(w *work) { q.ofMode(w.sample.Mode).waiting.push(w) }

// endPreparing notes that a worker is done with a sample of a mode.
func (q *queue) endPreparing(m reward.Mode) {
	q.preparing--
	q.ofMode(m).preparing--
}

// addReady puts w, which has been prepared, on its mode's queue.
func (q *queue) addReady(w *work) { q.ofMode(w.sample.Mode).ready.push(w) }

// lengths count the samples that wait and those that are ready.
func (q *queue) lengths() (waiting, ready int) {
	for _, l := range q.modes {
		waiting += l.waiting.len
		ready += l.ready.len
	}
	return waiting, ready
}

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

// take removes up to n works of l, in the order of their clients' turns.
func (q *queue) take(l *modeQueue, n int) []*work {
	works := make([]*work, 0, min(n, l.ready.len))
	for len(works) < cap(works) {
		works = append(works, l.ready.pop())
	}
	return works
}

// startable is the queue of the mode whose samples an idle evaluator should start on
// now: of those that are due, the one that has waited longest. limit is how many
// samples of a mode an idle evaluator takes, 0 if none takes the mode.
// Without one, it is the time to ask again; zero if only another event can
// change the answer. nextToPrepare must have been exhausted before.
func (q *queue) startable(now time.Time, limit func(reward.Mode) int) (*modeQueue, time.Time) {
	var best *modeQueue
	var next time.Time
	for _, l := range q.modes {
		most := limit(l.mode)
		if l.ready.len == 0 || most == 0 {
			continue
		}
		due := q.due(l)
		if l.ready.len < most && !q.exhausted(l) && due.After(now) {
			if next.IsZero() || due.Before(next) {
				next = due
			}
			continue
		}
		if best == nil || l.ready.oldest().Before(best.ready.oldest()) {
			best = l
		}
	}
	return best, next
}

// exhausted reports that no sample now known can join the ready ones of l, so that
// there is nothing to wait for: none is being prepared, and if some wait for
// it, that is because enough are ready. When there is none at all, requests yet
// to come may be worth MaxDelay.
func (q *queue) exhausted(l *modeQueue) bool {
	if l.preparing > 0 {
		return false
	}
	if l.waiting.len > 0 {
		return q.enough(l)
	}
	return q.eager
}

// due is when the first sample of l has waited long enough for company.
func (q *queue) due(l *modeQueue) time.Time {
	due := l.ready.oldest().Add(patience * q.maxDelay)
	for _, c := range l.ready.turns {
		var last *request // samples of one request lie side by side
		for w := c.works.head; w != nil; w = w.next {
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
	}
	return due
}
