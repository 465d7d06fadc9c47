// Package servertest makes servers for the tests of what stands around package server.
package servertest

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/credentials"
	"github.com/denseflow/densereward/reward/server/telemetry"
	"github.com/denseflow/densereward/reward/wire"
)

// Tokens are those of a file of these lines: a token, or a name with its token.
func Tokens(t testing.TB, lines ...string) *credentials.Tokens {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tokens, err := credentials.OpenTokens(file)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

// New is a server of evaluators, each behind a scheduler that caches results and whose
// metrics the server has. It logs nothing unless cfg says where.
func New(t testing.TB, cfg server.Config, evaluators ...reward.Evaluator) *server.Server {
	t.Helper()
	cfg.Metrics = telemetry.NewMetrics("test")
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	for _, e := range evaluators {
		about := e.Describe()
		queue := batch.DefaultConfig()
		queue.Observer = cfg.Metrics.Observer(about.Name)
		scheduler, err := batch.New(queue, e)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Metrics.Watch(about.Name, scheduler.Stats)
		cfg.Models = append(cfg.Models, server.Model{Description: about, Scorer: scheduler})
	}
	s, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Listen serves what New makes over loopback and gives its address.
func Listen(t testing.TB, cfg server.Config, evaluators ...reward.Evaluator) string {
	t.Helper()
	web := httptest.NewServer(New(t, cfg, evaluators...))
	t.Cleanup(web.Close)
	return web.URL
}

// Do sends a request whose body is of a kind and gives the answer with its whole body.
func Do(t testing.TB, r *http.Request, kind string) (*http.Response, []byte) {
	t.Helper()
	r.Header.Set("Content-Type", kind)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, text
}

// Numbers are all of a sample in a response: its reward, scores, advantages and dense maps.
func Numbers(t testing.TB, p *wire.Response, i int) []float64 {
	t.Helper()
	all := []float64{p.Rewards[i]}
	for _, s := range p.Scores {
		all = append(all, s.Values[i])
	}
	maps := []*reward.Tensor{p.Advantages}
	if p.Dense != nil {
		maps = append(maps, p.Dense.Weight, p.Dense.Reward)
	}
	for _, m := range maps {
		values, err := m.Part(i, i+1).Float64s()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, values...)
	}
	return all
}
