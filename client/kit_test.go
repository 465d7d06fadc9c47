package client_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/servertest"
	"github.com/denseflow/densereward/reward/wire"
)

// newServer is a real server before a fake evaluator.
func newServer(t testing.TB, fake *rewardtest.Fake) *server.Server {
	t.Helper()
	return servertest.New(t, server.Config{}, fake)
}

// listen serves h over loopback.
func listen(t testing.TB, h http.Handler) string {
	t.Helper()
	web := httptest.NewServer(h)
	t.Cleanup(web.Close)
	return web.URL
}

// script answers its first requests as it is told and leaves the rest to next.
type script struct {
	mu    sync.Mutex
	steps []http.HandlerFunc
	next  http.Handler
	seen  []*http.Request
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.seen = append(s.seen, r)
	h := s.next
	if len(s.steps) > 0 {
		h, s.steps = s.steps[0], s.steps[1:]
	}
	s.mu.Unlock()
	h.ServeHTTP(w, r)
}

func (s *script) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen)
}

// fails answers with an error and header lines in pairs.
func fails(e *reward.Error, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.Header().Set(wire.HeaderRequestID, "id-1")
		w.WriteHeader(e.Status())
		_, _ = w.Write(wire.EncodeError(e))
	}
}

// hangs reads the request and waits for its client to leave.
func hangs(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// breaks ends the connection without an answer.
func breaks(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// clock is a clock on which pauses take no time; it keeps them.
type clock struct {
	mu     sync.Mutex
	at     time.Time
	pauses []time.Duration
}

func newClock() *clock { return &clock{at: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
	c.pauses = append(c.pauses, d)
	return ctx.Err()
}

// option makes a client use the clock, without jitter.
func (c *clock) option() client.Option {
	return client.WithClock(c.now, c.sleep, func() float64 { return 1 })
}

func newClient(t testing.TB, address string, opts ...client.Option) *client.Client {
	t.Helper()
	c, err := client.New(address, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// rollout is a request for n images of 32x32, as tensors.
func rollout(n int) *wire.Request {
	q := &wire.Request{}
	for i := range n {
		q.Prompts = append(q.Prompts, "a cat")
		q.Images = append(q.Images, wire.Image{Tensor: rewardtest.Tensor(rewardtest.Image(uint64(i), 32, 32))})
	}
	return q
}
