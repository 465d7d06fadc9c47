// Package attack_test attacks a server as hostile clients do. Each test is bounded, stays
// on this machine, and has its row in the table of SECURITY.md.
package attack_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/wire"
)

// newServer puts a server before a Fake; change may be nil.
func newServer(t testing.TB, fake *rewardtest.Fake, change func(*server.Config)) *server.Server {
	t.Helper()
	s, err := openServer(fake, change)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openServer(fake *rewardtest.Fake, change func(*server.Config)) (*server.Server, error) {
	queue := batch.DefaultConfig()
	queue.MaxDelay, queue.CacheBytes, queue.QueueBytes = 0, 0, 64<<20
	scheduler, err := batch.New(queue, fake)
	if err != nil {
		return nil, err
	}
	cfg := server.Config{
		Models: []server.Model{{Description: fake.Describe(), Scorer: scheduler}},
		Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&cfg)
	}
	return server.New(cfg)
}

// scoreBody encodes a request for n images of 8x8 pixels as PNG, whose answer holds
// the parts.
func scoreBody(t testing.TB, prompt string, n int, parts ...wire.Return) []byte {
	t.Helper()
	q := &wire.Request{Return: parts}
	file := rewardtest.PNG(rewardtest.Image(1, 8, 8))
	for range n {
		q.Prompts = append(q.Prompts, prompt)
		q.Images = append(q.Images, wire.Image{Encoded: file})
	}
	m, err := q.Encode(wire.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	return m.Bytes()
}

// scoreRequest posts a scoreBody.
func scoreRequest(t testing.TB, prompt string, n int, parts ...wire.Return) *http.Request {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, wire.ScorePath, bytes.NewReader(scoreBody(t, prompt, n, parts...)))
	r.Header.Set("Content-Type", wire.MediaType)
	return r
}

// encode is a request for n images, changed.
func encode(t *testing.T, change func(*wire.Request), n int) []byte {
	t.Helper()
	q, err := wire.DecodeRequest(scoreBody(t, "a cat", n), wire.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	change(q)
	m, err := q.Encode(wire.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	return m.Bytes()
}
