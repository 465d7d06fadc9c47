package batch

import (
	"context"
	"time"

	"github.com/denseflow/densereward/reward"
)

// state is where a work is on its way.
type state int

const (
	waiting state = iota
	preparing
	ready
	evaluating
	finished
)

// work is one sample to evaluate, for all the tickets that want it.
type work struct {
	sample  reward.Sample
	load    func(ctx context.Context) (*reward.Image, error)
	source  []byte
	release func()
	bytes   int64
	samples int // how much of the queue's limit it takes: its own and joined tickets

	req     *request // whose job it was, which decides when its batch is due
	tickets []*ticket
	own     [1]*ticket // room for the usual single ticket

	state  state
	since  time.Time // when state began
	ctx    context.Context
	cancel context.CancelFunc // set from preparing on
	run    *run               // while evaluating

	// What identical work in flight finds it by.
	file, pixels       key
	hasFile, hasPixels bool

	list       *fifo // that it is on, and its neighbours there
	prev, next *work
}

// enter moves w to state at now and returns how long the last one took.
func (w *work) enter(s state, now time.Time) time.Duration {
	d := now.Sub(w.since)
	w.state, w.since = s, now
	return d
}

// fifo is a list of works from which any can be taken out.
type fifo struct {
	head, tail *work
	len        int
	of         *fair // whose length counts its works too, or nil
}

// push appends w, which is on no list.
func (l *fifo) push(w *work) {
	w.list, w.prev, w.next = l, l.tail, nil
	if l.tail != nil {
		l.tail.next = w
	} else {
		l.head = w
	}
	l.tail = w
	l.len++
	if l.of != nil {
		l.of.len++
	}
}

// remove takes w out of the list that it is on.
func (w *work) remove() {
	l := w.list
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		l.head = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		l.tail = w.prev
	}
	w.list, w.prev, w.next = nil, nil, nil
	l.len--
	if l.of != nil {
		l.of.len--
	}
}

// pop takes out the first; nil if there is none.
func (l *fifo) pop() *work {
	w := l.head
	if w != nil {
		w.remove()
	}
	return w
}
