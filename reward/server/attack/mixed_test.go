package attack_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/wire"
)

var attackTime = flag.Duration("attack", time.Second, "how long TestAPoliteClientIsServedAmongHostileOnes attacks; 2m is thorough")

// hostile are what a connection sends. Each then reads nothing until it is closed or
// its turn is over.
func hostile(t *testing.T) []func(io.Writer) {
	post := func(w io.Writer, path, kind, length string) {
		fmt.Fprintf(w, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\n%s\r\n\r\n", path, kind, length)
	}
	answer := scoreBody(t, "a cat", 16, wire.ReturnHeatmaps)
	zeros := make([]byte, 64<<10)
	return []func(io.Writer){
		func(w io.Writer) { // an answer that is not read
			post(w, wire.ScorePath, wire.MediaType, fmt.Sprintf("Content-Length: %d", len(answer)))
			_, _ = w.Write(answer)
		},
		func(w io.Writer) { // a body that stalls before its end
			post(w, wire.ScorePath, wire.MediaType, "Content-Length: 8388608")
			for range 127 {
				_, _ = w.Write(zeros)
			}
		},
		func(w io.Writer) { // a chunked body without end
			post(w, wire.ScorePath, wire.MediaType, "Transfer-Encoding: chunked")
			for range 200 {
				fmt.Fprintf(w, "%x\r\n%s\r\n", len(zeros), zeros)
			}
		},
		func(w io.Writer) { fmt.Fprint(w, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n") }, // and idle
		func(w io.Writer) { fmt.Fprint(w, "GET /healthz HTTP/1.1\r\nHost: ") },
		func(w io.Writer) {
			for i := range 200 {
				fmt.Fprintf(w, "JUNK%d /%d HTTP/1.1\r\nHost: localhost\r\n\r\n", i, i)
			}
		},
		func(w io.Writer) { // keys that mean nothing
			body := "{" + strings.Repeat(`"k":[0],`, 100_000)
			post(w, "/compute", "application/json", fmt.Sprintf("Content-Length: %d", len(body)))
			fmt.Fprint(w, body)
		},
		func(w io.Writer) { post(w, wire.ScorePath, wire.MediaType, "Content-Length: 1099511627776") },
	}
}

func TestAPoliteClientIsServedAmongHostileOnes(t *testing.T) {
	const limit, connections = 64 << 20, 1024
	s := newServer(t, &rewardtest.Fake{Side: 128}, func(c *server.Config) { c.BodyMemory, c.Hosts = limit, []string{"localhost"} })
	l, err := server.Listen(t.Context(), "127.0.0.1:0", false, connections)
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	front := server.DefaultFront()
	front.Logger = slog.New(slog.DiscardHandler)
	ended := make(chan error, 1)
	go func() { ended <- front.Serve(ctx, l, s, &server.Readiness{}, nil) }()
	before := runtime.NumGoroutine()

	attack, over := context.WithTimeout(t.Context(), *attackTime)
	defer over()
	var attackers sync.WaitGroup
	kinds := hostile(t)
	for i := range 64 {
		attackers.Go(func() { keepAttacking(attack, address, kinds[i%len(kinds)]) })
	}
	polite := politeClient{address: address, body: scoreBody(t, "a cat", 1)}
	polite.run(t, attack)
	attackers.Wait()

	good := polite.statuses[http.StatusOK]
	t.Logf("%d of %d answered 200, statuses %v, p99 %v", good, polite.sent, polite.statuses, polite.percentile(0.99))
	// In a short attack chance decides how many are told to come again.
	tooFew := *attackTime >= 30*time.Second && good*10 < polite.sent*9
	if tooFew || good == 0 || good+polite.statuses[http.StatusTooManyRequests] != polite.sent {
		t.Errorf("statuses %v of %d requests", polite.statuses, polite.sent)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if held := s.BodyMemoryHeld(); held != 0 {
		t.Errorf("%d bytes are held after all left", held)
	}
	if after := runtime.NumGoroutine(); after > before+8 {
		t.Errorf("%d goroutines, %d before", after, before)
	}
}

// keepAttacking opens one connection after the other, each until the server closes it.
func keepAttacking(ctx context.Context, address string, send func(io.Writer)) {
	for ctx.Err() == nil {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return
		}
		closer := context.AfterFunc(ctx, func() { _ = conn.Close() })
		send(conn)
		// That a write fails says that the server closed the connection.
		for err == nil && ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
				_, err = conn.Write([]byte("x"))
			}
		}
		closer()
		_ = conn.Close()
	}
}

// politeClient sends small requests one after the other, as fast as twenty a second.
type politeClient struct {
	address  string
	body     []byte
	sent     int
	statuses map[int]int
	took     []time.Duration
}

func (p *politeClient) run(t *testing.T, ctx context.Context) {
	p.statuses = map[int]int{}
	ticks := time.NewTicker(50 * time.Millisecond)
	defer ticks.Stop()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	for ctx.Err() == nil {
		<-ticks.C
		began := time.Now()
		p.sent++
		answer, err := client.Post("http://"+p.address+wire.ScorePath, wire.MediaType, bytes.NewReader(p.body))
		if err != nil {
			t.Logf("request %d: %v", p.sent, err)
			p.statuses[0]++
			continue
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			t.Errorf("request %d: %v", p.sent, err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode == http.StatusTooManyRequests && answer.Header.Get("Retry-After") == "" {
			t.Error("429 without Retry-After")
		}
		p.statuses[answer.StatusCode]++
		p.took = append(p.took, time.Since(began))
	}
}

func (p *politeClient) percentile(q float64) time.Duration {
	if len(p.took) == 0 {
		return 0
	}
	slices.Sort(p.took)
	return p.took[int(q*float64(len(p.took)-1))]
}
