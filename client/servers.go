package client

import (
	"errors"
	"hash/fnv"
	"slices"
	"sync"
	"sync/atomic"
	"time"
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
}

func (s *server) succeeded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rests = time.Time{}
}

func (s *server) rest(until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rests = until
}

func (s *server) resting() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rests
}

// attempts are the tries of one request.
type attempts struct {
	order []*server       // in order of preference
	count map[*server]int // tries so far
	made  int
}

// attempts begins a request. Requests of one step go to one server, whichever
// client sends them, since that server brings their groups together; the rest
// take turns.
func (s *servers) attempts(step string) *attempts {
	a := &attempts{order: slices.Clone(s.all), count: map[*server]int{}}
	if step != "" {
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

// next is the server to try: of those tried least the first that is not
// resting, or the one that rests shortest.
func (a *attempts) next(now time.Time) *server {
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
	a.count[best]++
	a.made++
	return best
}

// failed notes that s failed. It reports whether there is to be another try
// and after what pause: none while a server is left that was tried less often.
func (a *attempts) failed(s *server, err error, o *options) (pause time.Duration, again bool) {
	var failure *exchangeError
	if errors.As(err, &failure) {
		pause = failure.pause
	}
	round := a.count[s]
	pause = max(pause, o.backoff(round))
	s.rest(o.now().Add(pause))
	for _, other := range a.order {
		if a.count[other] < round {
			return 0, true
		}
	}
	return pause, round < o.tries
}
