package client

import (
	"errors"
	"net/http"
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

	mu   sync.Mutex
	full time.Time // until when it answers 429: it is up, but takes no more
	lost time.Time // until when it is taken to be down, or not ready
}

// succeeded notes that s is up. It may still be full: of what it told other
// requests nothing is forgotten.
func (s *server) succeeded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = time.Time{}
}

// failed notes that s is full, or else lost, until then or longer.
func (s *server) failed(full bool, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	why := &s.lost
	if full {
		why = &s.full
	}
	if until.After(*why) {
		*why = until
	}
}

// rest is how long s is still to be left alone, 0 if it is not, and whether it
// is lost.
func (s *server) rest(now time.Time) (rest time.Duration, lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.full.Sub(now), s.lost.Sub(now), 0), s.lost.After(now)
}

// attempts are the tries of one request.
type attempts struct {
	order  []*server       // in order of preference
	count  map[*server]int // failed tries so far
	failed int             // their sum
	most   int             // tries of each server
	ofKey  bool            // the order is the key's
}

// attempts begins a request. Requests of one key go to one server, whichever
// client sends them, since that server brings their groups together: to the first
// in the key's own order that is up, and they wait for it while it is full. The
// rest take turns.
func (s *servers) attempts(key string, most int) *attempts {
	a := &attempts{count: map[*server]int{}, most: most}
	if key != "" {
		a.ofKey, a.order = true, s.ordered(key)
		return a
	}
	a.order = s.all
	first := int(s.turn.Add(1)-1) % len(a.order)
	a.order = append(slices.Clone(s.all[first:]), s.all[:first]...)
	return a
}

// next is the server to try and the pause before that, or nil once the tries
// are used up. A request of a key goes to the first server that is not lost,
// however long it rests, and to no other when its tries of that one are used
// up. Else it is the server that rests shortest, if at all: of several the one
// tried least, of these the first in order.
func (a *attempts) next(now time.Time) (next *server, pause time.Duration) {
	for _, s := range a.order {
		rest, lost := s.rest(now)
		left := a.count[s] < a.most
		switch {
		case a.ofKey && !lost && left:
			return s, rest
		case a.ofKey && !lost:
			return nil, 0
		case !left:
		case next == nil || rest < pause || rest == pause && a.count[s] < a.count[next]:
			next, pause = s, rest
		}
	}
	return next, pause
}

// fail notes that a try of s ended in err: s is to rest for as long as it asks
// for, and no less than the backoff.
func (a *attempts) fail(s *server, err error, o *options) {
	a.count[s]++
	a.failed++
	pause := o.backoff(a.count[s])
	var failure *exchangeError
	if errors.As(err, &failure) {
		pause = max(pause, failure.pause)
	}
	s.failed(status(err) == http.StatusTooManyRequests, o.now().Add(pause))
}

// away reports whether s is another server than that where the requests of the key should
// meet.
func (a *attempts) away(s *server) bool { return a.ofKey && s != a.order[0] }
