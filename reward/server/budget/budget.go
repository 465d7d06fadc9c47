// Package budget counts the memory that a server holds for its clients: bodies while
// they are read and used, and answers from before they are computed until they are
// sent. Where it runs out, loans of clients that stall are called back for those that
// move.
package budget

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// ErrFull is returned when others hold the memory, or the client's other loans its share.
var ErrFull = errors.New("budget: the memory for bodies and answers is lent out")

// TooLargeError is returned for what the whole budget cannot hold.
type TooLargeError struct{ Bytes, Limit int64 }

// Error implements error.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("budget: %d bytes exceed the limit of %d", e.Bytes, e.Limit)
}

const (
	// Patience is how far a client may lag behind the minimum rate before its loan
	// can be called back.
	Patience = time.Second
	// settling is how long a loan that was called back may take to be returned.
	settling = time.Second
)

// The last eighth of a budget is for small loans, so that those who borrow much do not
// shut out those who ask for little.
const (
	smallShare = 1024     // a loan is small up to this part of the budget,
	smallest   = 64 << 10 // or this many bytes
	apart      = 8
)

// Budget is bytes that are lent out. It is safe for concurrent use.
type Budget struct {
	limit   int64
	share   int64 // of limit, the most of one client with several loans
	minRate int64 // bytes a second

	mu       sync.Mutex
	clients  map[string]int64 // of held, by who borrowed it
	refused  int64            // for a client's share
	held     int64
	leaving  int64              // of held, called back and not returned yet
	watched  map[*Loan]struct{} // what waits for a client
	returned chan struct{}      // closed, and made anew, when bytes come back
}

// New makes a budget of limit bytes, of which a client that holds some already has
// no more than its share. One that transfers fewer than minRate bytes a second lags.
func New(limit, share, minRate int64) *Budget {
	return &Budget{limit: limit, share: share, minRate: minRate, clients: map[string]int64{}, watched: map[*Loan]struct{}{}, returned: make(chan struct{})}
}

// Held is how many bytes are lent out.
func (b *Budget) Held() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held
}

// Refused is how many loans grew no further because their client had its share.
func (b *Budget) Refused() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refused
}

// Limit is how many bytes can be lent out.
func (b *Budget) Limit() int64 { return b.limit }

// Loan is the bytes of one body or answer. Its methods are called by one goroutine at
// a time.
type Loan struct {
	budget   *Budget
	client   string
	bytes    int64
	callBack func()
	called   bool
	// clock is the time up to which the client has kept the minimum rate: bytes
	// advance it, never past the present, so that no haste is saved up.
	clock time.Time
}

// Open makes a loan to a client that holds nothing yet and has to be returned whatever
// it grows to.
func (b *Budget) Open(client string) *Loan { return &Loan{budget: b, client: client} }

// Grow borrows n bytes more. It fails with ErrFull, or a *TooLargeError.
func (l *Loan) Grow(n int64) error {
	b := l.budget
	limit := b.limit
	large := l.bytes+n > max(limit/smallShare, smallest)
	if large {
		limit -= limit / apart
	}
	if l.bytes+n > limit {
		return &TooLargeError{l.bytes + n, limit}
	}
	var late <-chan time.Time
	for {
		b.mu.Lock()
		of := b.clients[l.client]
		beyond := large && of > l.bytes && of+n > b.share
		if !beyond && b.held+n <= limit {
			b.add(l, n)
			b.mu.Unlock()
			return nil
		}
		enough := b.callBack(l, n, limit, beyond)
		if beyond && !enough {
			b.refused++
		}
		returned := b.returned
		b.mu.Unlock()
		if !enough {
			return ErrFull
		}
		if late == nil {
			late = time.After(settling)
		}
		select {
		case <-returned:
		case <-late:
			return ErrFull
		}
	}
}

// add counts n bytes for a loan, under the lock.
func (b *Budget) add(l *Loan, n int64) {
	b.held += n
	l.bytes += n
	if b.clients[l.client] += n; b.clients[l.client] == 0 {
		delete(b.clients, l.client)
	}
}

// callBack calls back those that lag most until n bytes are there once they have
// returned theirs, beside those that were called back before; none if that is not
// enough. Where n is beyond the client's share, they are of that client. It is called
// under the lock, so that nobody is called back after Settle.
func (b *Budget) callBack(but *Loan, n, limit int64, beyond bool) (enough bool) {
	missing := b.held - b.leaving + n - limit
	if beyond {
		missing = b.clients[but.client] + n - b.share
		for l := range b.watched {
			if l.called && l.client == but.client {
				missing -= l.bytes
			}
		}
	}
	if missing <= 0 {
		return true
	}
	var lagging []*Loan
	now := time.Now()
	for l := range b.watched {
		if l != but && !l.called && (!beyond || l.client == but.client) && now.Sub(l.clock) > Patience {
			lagging = append(lagging, l)
		}
	}
	slices.SortFunc(lagging, func(x, y *Loan) int { return x.clock.Compare(y.clock) })
	for i, l := range lagging {
		if missing -= l.bytes; missing > 0 {
			continue
		}
		for _, l := range lagging[:i+1] {
			l.called = true
			b.leaving += l.bytes
			l.callBack()
		}
		return true
	}
	return false
}

// Shrink returns n of the loan's bytes.
func (l *Loan) Shrink(n int64) {
	b := l.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(l, -n)
	if l.called {
		b.leaving -= n
	}
	close(b.returned)
	b.returned = make(chan struct{})
}

// Return ends the loan. To return it again does nothing.
func (l *Loan) Return() {
	l.Settle()
	l.Shrink(l.bytes)
}

// Watch says that the loan waits for a client from now on. callBack, which is called
// from any goroutine and must not use the budget, has to make its holder return it soon.
func (l *Loan) Watch(callBack func()) {
	l.budget.mu.Lock()
	defer l.budget.mu.Unlock()
	l.callBack, l.clock = callBack, time.Now()
	l.budget.watched[l] = struct{}{}
}

// Moved notes that the client transferred n bytes.
func (l *Loan) Moved(n int) {
	l.budget.mu.Lock()
	defer l.budget.mu.Unlock()
	l.clock = Advance(l.clock, time.Now(), n, l.budget.minRate)
}

// Settle says that the loan waits for no client any more.
func (l *Loan) Settle() {
	l.budget.mu.Lock()
	defer l.budget.mu.Unlock()
	delete(l.budget.watched, l)
}

// Advance moves a client's clock by what n bytes take at the minimum rate, bytes a
// second, but not past the present.
func Advance(clock, now time.Time, n int, minRate int64) time.Time {
	clock = clock.Add(time.Duration(float64(n) / float64(minRate) * float64(time.Second)))
	if clock.After(now) {
		return now
	}
	return clock
}
