package server_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/denseflow/densereward/internal/memnet"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/front"
	"github.com/denseflow/densereward/reward/server/telemetry"
	"github.com/denseflow/densereward/reward/wire"
)

// network is how clients in a bubble reach a server.
type network struct{ *memnet.Listener }

func newNetwork() *network { return &network{memnet.New()} }

// client sends over the network; its connections are closed with the test.
func (n *network) client(t *testing.T) *http.Client {
	transport := &http.Transport{
		DialContext:        n.DialContext,
		DisableCompression: true,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// quiet logs nothing.
func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// stack is a server with what is behind it.
type stack struct {
	fake      *rewardtest.Fake
	scheduler *batch.Scheduler
	server    *server.Server
	metrics   *telemetry.Metrics
	readiness *front.Readiness
}

// newStack puts a server before a Fake and a Scheduler; change may be nil.
func newStack(t testing.TB, fake *rewardtest.Fake, change func(*batch.Config, *server.Config)) *stack {
	t.Helper()
	s := &stack{fake: fake, metrics: telemetry.NewMetrics("test"), readiness: &front.Readiness{}}
	queue := batch.DefaultConfig()
	queue.MaxDelay, queue.CacheBytes, queue.Observer = 0, 0, s.metrics.Observer("fake")
	cfg := server.Config{Metrics: s.metrics, Ready: s.readiness.Err, Logger: quiet()}
	if change != nil {
		change(&queue, &cfg)
	}
	var err error
	if s.scheduler, err = batch.New(queue, fake); err != nil {
		t.Fatal(err)
	}
	s.metrics.Watch("fake", s.scheduler.Stats)
	cfg.Models = []server.Model{{Description: fake.Describe(), Scorer: s.scheduler}}
	if s.server, err = server.New(cfg); err != nil {
		t.Fatal(err)
	}
	s.readiness.Warm()
	return s
}

// serve runs the stack behind a network in memory until stop is called, which
// gives what Serve returned.
func (s *stack) serve(t *testing.T, facing front.Front) (n *network, stop func() error) {
	n = newNetwork()
	ctx, cancel := context.WithCancel(context.Background())
	facing.Logger = quiet()
	ended := make(chan error, 1)
	go func() { ended <- facing.Serve(ctx, n, s.server, s.readiness, s.scheduler.Shutdown) }()
	return n, sync.OnceValue(func() error { cancel(); return <-ended })
}

// scrape is the server's metrics as text.
func (s *stack) scrape(t testing.TB) string {
	t.Helper()
	return get(t, s.metrics.Handler(), "/metrics").Body.String()
}

func (s *stack) wantMetrics(t testing.TB, lines ...string) {
	t.Helper()
	text := s.scrape(t)
	for _, line := range lines {
		if !strings.Contains(text, line+"\n") {
			name, _, _ := strings.Cut(line, "{")
			t.Errorf("no metric %s among\n%s", line, linesWith(text, name))
		}
	}
}

func linesWith(text, part string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) && !strings.HasPrefix(line, "#") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// question encodes a request for images with the given seeds.
func question(t testing.TB, seeds ...uint64) []byte {
	t.Helper()
	q := &wire.Request{}
	for _, seed := range seeds {
		q.Prompts = append(q.Prompts, "a cat")
		image := rewardtest.Image(seed, 64, 64)
		q.Images = append(q.Images, wire.Image{Tensor: reward.Uint8Tensor(image.Pix, 64, 64, 3)})
	}
	m, err := q.Encode(wire.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := m.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// post makes a POST of body to /v1/score.
func post(ctx context.Context, t testing.TB, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://server"+wire.ScorePath, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", wire.MediaType)
	return r
}
