package client

import (
	"errors"
	"hash/fnv"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/denseflow/densereward/reward"
)

// servers are the servers of a client. Requests take turns on them, but for
// those that failed of late.
type servers struct {
	all  []*server
	turn atomic.Uint32
}

// server is one address and what is known of it.
type server struct {
	base string

	mu    sync.Mutex
	rests time.Time // until when others are preferred
	full  bool      // why it rests: it is up, but its queue is full
}

func (s *server) succeeded() { s.rest(time.Time{}, false) }

func (s *server) rest(until time.Time, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rests, s.full = until, full
}

func (s *server) resting() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rests
}

// down reports whether s rests for another reason than a full queue.
func (s *server) down(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rests.After(now) && !s.full
}

// attempts are the tries of one request.
type attempts struct {
	order  []*server       // in order of preference
	count  map[*server]int // tries so far
	made   int
	ofStep bool // the order is the step's
}

// attempts begins a request. Requests of one step go to one server, whichever
// client sends them, since that server brings their groups together: to the first
// in the step's own order that is up, and they wait for it while it is full. The
// rest take turns.
func (s *servers) attempts(step string) *attempts {
	a := &attempts{order: slices.Clone(s.all), count: map[*server]int{}}
	if step != "" {
		a.ofStep = true
		slices.SortFunc(a.order, func(x, y *server) int {
			return compare(rank(step, x.base), rank(step, y.base))
		})
		return a
	}
	first := int(s.turn.Add(1)-1) % len(a.order)
	a.order = append(slices.Clone(s.all[first:]), s.all[:first]...)
	return a
}

// rank orders servers for a step in a way that all clients share.
func rank(step, base string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(step + "\x00" + base))
	return h.Sum64()
}

func compare(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// next is the server to try and after what pause.
func (a *attempts) next(now time.Time) (*server, time.Duration) {
	var s *server
	pause := time.Duration(0)
	if a.ofStep {
		s = a.nextOfStep(now)
		pause = max(0, s.resting().Sub(now))
	} else {
		s = a.nextInTurn(now)
	}
	a.count[s]++
	a.made++
	return s, pause
}

// nextOfStep is the first server that is not down, or the one that rests
// shortest.
func (a *attempts) nextOfStep(now time.Time) *server {
	for _, s := range a.order {
		if !s.down(now) {
			return s
		}
	}
	return slices.MinFunc(a.order, func(x, y *server) int { return x.resting().Compare(y.resting()) })
}

// nextInTurn is, of the servers tried least, the first that is not resting, or
// the one that rests shortest.
func (a *attempts) nextInTurn(now time.Time) *server {
	least := a.count[slices.MinFunc(a.order, func(x, y *server) int { return a.count[x] - a.count[y] })]
	var best *server
	for _, s := range a.order {
		if a.count[s] > least {
			continue
		}
		if !s.resting().After(now) {
			best = s
			break
		}
		if best == nil || s.resting().Before(best.resting()) {
			best = s
		}
	}
	return best
}

// failed notes that s failed. It reports whether there is to be another try
// and after what pause: none while a server is left that was tried less often,
// or, in a step, that is not down.
func (a *attempts) failed(s *server, err error, o *options) (pause time.Duration, again bool) {
	var failure *exchangeError
	if errors.As(err, &failure) {
		pause = failure.pause
	}
	round := a.count[s]
	pause = max(pause, o.backoff(round))
	now, full := o.now(), errors.Is(err, reward.ErrOverloaded)
	s.rest(now.Add(pause), full)
	if a.ofStep {
		if next := a.nextOfStep(now); !full && !next.down(now) {
			return 0, a.count[next] < o.tries
		}
		return pause, round < o.tries
	}
	for _, other := range a.order {
		if a.count[other] < round {
			return 0, true
		}
	}
	return pause, round < o.tries
}
