package attack_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/denseflow/densereward/internal/memnet"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/credentials"
	"github.com/denseflow/densereward/reward/server/front"
	"github.com/denseflow/densereward/reward/server/places"
	"github.com/denseflow/densereward/reward/wire"
)

const token = "0123456789abcdef"

// getStatus asks for a path on a connection of its own and gives the answer's status,
// 0 where there is none within a minute.
func getStatus(t *testing.T, l *memnet.Listener, path string, header ...string) int {
	t.Helper()
	transport := &http.Transport{DialContext: l.DialContext}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://server"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range header {
		r.Header.Set("Authorization", h)
	}
	answer, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode
}

func TestHealthAndTokensHavePlacesWhereOthersTookAll(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tokens, err := credentials.OpenTokens(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, keep := range map[string]struct {
		tokens   *credentials.Tokens
		hold     string // what each of the connections that take the places sends
		stranger int    // the status of a request without a token
	}{
		"idle keep-alives without a token": {tokens, "GET /healthz HTTP/1.1\r\nHost: server\r\n\r\n", http.StatusUnauthorized},
		"headers that do not end":          {tokens, "GET /healthz HTTP/1.1\r\nHost: ", http.StatusUnauthorized},
		"nothing at all":                   {tokens, "", http.StatusUnauthorized},
		"bodies that stall, without tokens": {
			nil, "POST " + wire.ScorePath + " HTTP/1.1\r\nHost: server\r\nContent-Type: " + wire.MediaType + "\r\nContent-Length: 1000\r\n\r\nx", http.StatusTooManyRequests,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, stop := serveWithPlacesTaken(t, keep.tokens, keep.hold)
				began := time.Now()
				if status := getStatus(t, l, "/healthz"); status != http.StatusOK {
					t.Errorf("health: status %d", status)
				}
				if keep.tokens != nil {
					if status := getStatus(t, l, wire.ModelsPath, "Bearer "+token); status != http.StatusOK {
						t.Errorf("a client with a token: status %d", status)
					}
				}
				if status := getStatus(t, l, wire.ModelsPath); status != keep.stranger {
					t.Errorf("a client without a token: status %d, want %d", status, keep.stranger)
				}
				if took := time.Since(began); took > 3*time.Second {
					t.Errorf("took %v", took)
				}
				stop()
			})
		})
	}
}

// serveWithPlacesTaken serves eight connections, each of which has sent hold.
func serveWithPlacesTaken(t *testing.T, tokens *credentials.Tokens, hold string) (l *memnet.Listener, stop func()) {
	t.Helper()
	s := newServer(t, &rewardtest.Fake{}, func(c *server.Config) { c.Tokens = tokens })
	l = memnet.New()
	facing := front.Default()
	facing.Logger = slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- facing.Serve(ctx, places.Limit(l, 8, 2, 10), s, &front.Readiness{}, nil) }()
	var held []net.Conn
	for range 8 {
		conn, err := l.DialContext(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, conn)
		if _, err := fmt.Fprint(conn, hold); err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.Copy(io.Discard, conn) }()
	}
	time.Sleep(1100 * time.Millisecond)
	return l, func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		for _, conn := range held {
			_ = conn.Close()
		}
	}
}
