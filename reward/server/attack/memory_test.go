package attack_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/denseflow/densereward/internal/memnet"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/credentials"
	"github.com/denseflow/densereward/reward/server/front"
	"github.com/denseflow/densereward/reward/wire"
)

// serve runs s until the test's end, which is an error unless all is drained.
func serve(t *testing.T, s *server.Server) (l *memnet.Listener, stop func()) {
	l = memnet.New()
	ctx, cancel := context.WithCancel(context.Background())
	facing := front.Default()
	facing.Logger = slog.New(slog.DiscardHandler)
	ended := make(chan error, 1)
	go func() { ended <- facing.Serve(ctx, l, s, &front.Readiness{}, nil) }()
	return l, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// start sends the header and the first bytes of a body of announced length.
func start(t *testing.T, l *memnet.Listener, announced int, sent []byte) net.Conn {
	t.Helper()
	conn, _ := l.DialContext(t.Context(), "", "")
	_, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: server\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", wire.ScorePath, wire.MediaType, announced, sent)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// polite posts body and gives the answer's status.
func polite(t *testing.T, l *memnet.Listener, body []byte) int {
	t.Helper()
	transport := &http.Transport{DialContext: l.DialContext}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport}).Post("http://server"+wire.ScorePath, wire.MediaType, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		t.Error(err)
	}
	return answer.StatusCode
}

func TestStalledBodiesLoseTheirMemoryToOneThatMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 16 << 20
		s := newServer(t, &rewardtest.Fake{}, func(c *server.Config) { c.BodyMemory, c.ClientMemory = limit, limit })
		l, stop := serve(t, s)
		for range 7 { // which hold all that is not for small ones, and lack their last byte
			defer start(t, l, limit/8, make([]byte, limit/8-1)).Close()
		}
		if status := polite(t, l, scoreBody(t, "a cat", 1)); status != http.StatusOK {
			t.Errorf("status %d for a small request, want 200", status)
		}
		body := scoreBody(t, "a cat", 16, wire.ReturnHeatmaps)
		if status := polite(t, l, body); status != http.StatusTooManyRequests {
			t.Errorf("status %d while all bodies move, want 429", status)
		}
		time.Sleep(1100 * time.Millisecond)
		began := time.Now()
		if status := polite(t, l, body); status != http.StatusOK || time.Since(began) > 100*time.Millisecond {
			t.Errorf("status %d after %v", status, time.Since(began))
		}
		stop()
	})
}

func TestWhatADecoderRemembersCountsInItsBodysMemory(t *testing.T) {
	for _, tt := range []struct {
		encoding string
		sent     []byte // of a body of 12 MiB zeros and more
		holds    int64
	}{
		{"zstd", append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x68}, bytes.Repeat([]byte{0x02, 0x00, 0x10, 0x82}, 96)...), 12<<20 + 2*8<<20},
		{"gzip", gzipped(t, 12<<20), 12 << 20},
	} {
		t.Run(tt.encoding, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, &rewardtest.Fake{}, nil)
				l, stop := serve(t, s)
				conn, _ := l.DialContext(t.Context(), "", "")
				defer conn.Close()
				fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: server\r\nContent-Type: %s\r\nContent-Encoding: %s\r\nContent-Length: 1000000\r\n\r\n%s", wire.ScorePath, wire.MediaType, tt.encoding, tt.sent)
				synctest.Wait()
				if held := s.BodyMemoryHeld(); held < tt.holds {
					t.Errorf("%d bytes are counted, %d are held", held, tt.holds)
				}
				_ = conn.Close()
				synctest.Wait()
				if held := s.BodyMemoryHeld(); held != 0 {
					t.Errorf("%d bytes are still held", held)
				}
				stop()
			})
		})
	}
}

// gzipped is the beginning of a file of more than n zeros.
func gzipped(t *testing.T, n int) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	if err := z.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestWhatARequestIsDecodedToCountsInTheMemory(t *testing.T) {
	small := map[string]any{"": map[string]any{}}
	maps := make([]any, 1000)
	for i := range maps {
		maps[i] = small
	}
	file := base64.StdEncoding.EncodeToString(rewardtest.PNG(rewardtest.Image(1, 8, 8)))
	compute := fmt.Sprintf(`{"prompt":[%q%s],"image":[%q%s]}`, "a", strings.Repeat(`,"a"`, 63), file, strings.Repeat(`,"`+file+`"`, 63))
	for name, tt := range map[string]struct {
		path, kind string
		body       []byte
		holds      int64
	}{
		"metadata of small maps": {wire.ScorePath, wire.MediaType, encode(t, func(q *wire.Request) {
			q.Return = []wire.Return{}
			for range q.Prompts {
				q.Metadata = append(q.Metadata, map[string]any{"a": maps})
			}
		}, 64), 64 * 1000 * 400},
		"maps that a foreign protocol does not ask for": {"/compute", "application/json", []byte(compute), 64 * 2 * 256 * 256 * 4},
	} {
		t.Run(name, func(t *testing.T) {
			var s *server.Server
			var held atomic.Int64
			fake := &rewardtest.Fake{Side: 256, Before: func(context.Context, []reward.Sample) error {
				held.Store(s.BodyMemoryHeld())
				return nil
			}}
			s = newServer(t, fake, nil)
			r := httptest.NewRequest(http.MethodPost, tt.path, bytes.NewReader(tt.body))
			r.Header.Set("Content-Type", tt.kind)
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if w.Code != http.StatusOK {
				t.Fatalf("status %d: %s", w.Code, w.Body)
			}
			if held.Load() < tt.holds {
				t.Errorf("%d bytes are counted while samples are evaluated, want at least %d", held.Load(), tt.holds)
			}
			if left := s.BodyMemoryHeld(); left != 0 {
				t.Errorf("%d bytes are still held", left)
			}
		})
	}
}

func TestAHeaderOfManyFieldsIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, &rewardtest.Fake{}, nil)
		l, stop := serve(t, s)
		conn, _ := l.DialContext(t.Context(), "", "")
		defer conn.Close()
		go func() {
			fmt.Fprint(conn, "GET /healthz HTTP/1.1\r\nHost: server\r\n")
			for i := range 4000 {
				fmt.Fprintf(conn, "%03x:\r\n", i)
			}
		}()
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || answer.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%v, %v", answer, err)
		}
		_ = conn.Close()
		stop()
	})
}

func TestAClientLeavesAShareOfTheMemoryToOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte("greedy greedy-0123456789abcdef\nother other-0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tokens, err := credentials.OpenTokens(path)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		const limit = 16 << 20
		s := newServer(t, &rewardtest.Fake{}, func(c *server.Config) { c.BodyMemory, c.ClientMemory, c.Tokens = limit, limit/2, tokens })
		l, stop := serve(t, s)
		ask := func(owner string, announced int) net.Conn {
			conn, _ := l.DialContext(t.Context(), "", "")
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: server\r\nAuthorization: Bearer %s-0123456789abcdef\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", wire.ScorePath, owner, wire.MediaType, announced)
			synctest.Wait()
			return conn
		}
		for range 4 {
			defer ask("greedy", limit/8).Close()
		}
		before := s.BodyMemoryHeld()
		refused := ask("greedy", limit/8)
		answer, err := http.ReadResponse(bufio.NewReader(refused), nil)
		if err != nil || answer.StatusCode != http.StatusTooManyRequests || answer.Header.Get("Retry-After") == "" {
			t.Errorf("beyond its share: %v, %v", answer, err)
		}
		_ = refused.Close()
		if other := ask("other", limit/8); s.BodyMemoryHeld() != before+limit/8 {
			t.Errorf("%d bytes are held, %d before another client came", s.BodyMemoryHeld(), before)
		} else {
			_ = other.Close()
		}
		stop()
	})
}

func TestAnAnswerThatNobodyReadsIsCutOffAndItsMemoryIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, &rewardtest.Fake{Side: 256}, nil)
		l, stop := serve(t, s)
		body := scoreBody(t, "a cat", 16, wire.ReturnHeatmaps) // an answer of 8 MiB
		conn := start(t, l, len(body), body)
		time.Sleep(13 * time.Second)
		synctest.Wait()
		if held := s.BodyMemoryHeld(); held != 0 {
			t.Errorf("%d bytes are held for an answer that nobody has read for 13 s", held)
		}
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Error(err)
		}
		stop()
	})
}

func TestUnreadAnswersLoseTheirMemoryToOneThatIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := scoreBody(t, "a cat", 16, wire.ReturnHeatmaps) // 8 MiB of maps, and as much stacked
		s := newServer(t, &rewardtest.Fake{Side: 256}, func(c *server.Config) { c.BodyMemory, c.ClientMemory = 40<<20, 40<<20 })
		l, stop := serve(t, s)
		for range 2 {
			defer start(t, l, len(body), body).Close()
			synctest.Wait()
		}
		if status := polite(t, l, body); status != http.StatusTooManyRequests {
			t.Errorf("status %d while both answers are young, want 429", status)
		}
		time.Sleep(1100 * time.Millisecond)
		if status := polite(t, l, body); status != http.StatusOK {
			t.Errorf("status %d", status)
		}
		stop()
	})
}

func TestAnswersBeyondTheMemoryAreRefusedBeforeTheyAreComputed(t *testing.T) {
	fake := &rewardtest.Fake{Side: 512}
	fake.Before = func(context.Context, []reward.Sample) error {
		t.Error("the samples were evaluated")
		return nil
	}
	s := newServer(t, fake, func(c *server.Config) { c.BodyMemory = 64 << 20 })
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 9 {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, scoreRequest(t, "a cat", 256, wire.ReturnHeatmaps)) // an answer of 512 MiB
		if w.Code != http.StatusRequestEntityTooLarge {
			t.Errorf("status %d, want 413", w.Code)
		}
	}
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 64<<20 {
		t.Errorf("%d MiB were allocated for answers that are refused", allocated>>20)
	}
	if held := s.BodyMemoryHeld(); held != 0 {
		t.Errorf("%d bytes are still held", held)
	}
}

func TestAllBodiesTogetherTakeNoMoreThanTheirMemory(t *testing.T) {
	const limit = 32 << 20
	s := newServer(t, &rewardtest.Fake{}, func(c *server.Config) { c.BodyMemory = limit })
	web := httptest.NewServer(s)
	defer web.Close()
	var before, during runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var sending sync.WaitGroup
	gate := make(chan struct{})
	for range 24 { // each 8 MiB, of unannounced length, and not ended
		sending.Go(func() {
			body := io.MultiReader(io.LimitReader(zeros{}, 8<<20), waiting(gate))
			answer, err := http.Post(web.URL+wire.ScorePath, wire.MediaType, body)
			if err == nil {
				_ = answer.Body.Close()
			}
		})
	}
	for s.BodyMemoryHeld() < limit/2 {
		runtime.Gosched()
	}
	if held := s.BodyMemoryHeld(); held > limit {
		t.Errorf("%d bytes are held, limit %d", held, int64(limit))
	}
	runtime.GC()
	runtime.ReadMemStats(&during)
	if grew := int64(during.HeapAlloc) - int64(before.HeapAlloc); grew > 2*limit {
		t.Errorf("the heap grew by %d MiB while bodies of 192 MiB were sent, limit %d MiB", grew>>20, limit>>20)
	}
	close(gate)
	sending.Wait()
	web.Close() // waits for the handlers
	if held := s.BodyMemoryHeld(); held != 0 {
		t.Errorf("%d bytes are still held", held)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// waiting is a body that ends when it is closed.
type waiting chan struct{}

func (w waiting) Read([]byte) (int, error) { <-w; return 0, io.EOF }
