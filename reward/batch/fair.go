package batch

import (
	"context"
	"slices"
	"time"
)

type clientKey struct{}

// WithClient says for whom the samples are that are scored with ctx: the owner of a
// token, or an address. Clients that wait take turns, a sample each; none has more
// than its share of the queue. Samples without a client are one client's, which
// may have all of the queue.
func WithClient(ctx context.Context, client string) context.Context {
	return context.WithValue(ctx, clientKey{}, client)
}

// ClientOf is the client of a context, "" if nobody said.
func ClientOf(ctx context.Context) string { return clientOf(ctx) }

func clientOf(ctx context.Context) string {
	client, _ := ctx.Value(clientKey{}).(string)
	return client
}

// fair is a queue from which clients take turns. The samples of one are taken in the
// order in which they came.
type fair struct {
	turns []*clientQueue // the next first; some may have been left by all their works
	len   int            // works of all
}

type clientQueue struct {
	client string
	works  fifo
}

// push appends w to the queue of its client.
func (f *fair) push(w *work) {
	if f.len == 0 {
		f.turns = f.turns[:0]
	}
	i := slices.IndexFunc(f.turns, func(c *clientQueue) bool { return c.client == w.req.client })
	if i < 0 {
		i = len(f.turns)
		f.turns = append(f.turns, &clientQueue{client: w.req.client, works: fifo{of: f}})
	}
	f.turns[i].works.push(w)
}

// pop takes the first work of the client whose turn it is; nil if there is none.
func (f *fair) pop() *work {
	for len(f.turns) > 0 {
		c := f.turns[0]
		f.turns = f.turns[1:]
		w := c.works.pop()
		if c.works.len > 0 {
			f.turns = append(f.turns, c)
		}
		if w != nil {
			return w
		}
	}
	return nil
}

// oldest is since when the work has been here that came first; zero without one.
func (f *fair) oldest() (since time.Time) {
	for _, c := range f.turns {
		if head := c.works.head; head != nil && (since.IsZero() || head.since.Before(since)) {
			since = head.since
		}
	}
	return since
}

// share is what one client has in the queue: tickets that are not answered, and the
// bytes of their jobs.
type share struct {
	samples int
	bytes   int64
}

// A client may have this share of the queue, so that there is room for others.
const (
	quotaNumerator   = 3
	quotaDenominator = 4
)

// overQuota reports whether samples of bytes in all are more than their client may add. A
// client that has nothing in the queue may have any request in it that fits.
func (s *Scheduler) overQuota(client string, samples int, bytes int64) bool {
	has := s.shares[client]
	if client == "" || has == (share{}) {
		return false
	}
	return has.samples+samples > s.cfg.QueueSamples*quotaNumerator/quotaDenominator ||
		has.bytes+bytes > s.cfg.QueueBytes/quotaDenominator*quotaNumerator
}

// addShare notes that a client has samples more, or fewer.
func (s *Scheduler) addShare(client string, samples int, bytes int64) {
	has := s.shares[client]
	has.samples += samples
	has.bytes += bytes
	if has.samples == 0 {
		delete(s.shares, client)
		return
	}
	s.shares[client] = has
}
