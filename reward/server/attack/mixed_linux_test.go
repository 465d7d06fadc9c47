package attack_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
)

// attackTime is long by hand, where the figures of SECURITY.md come from.
var attackTime = flag.Duration("attack", time.Second, "how long TestAPoliteClientIsServedAmongHostileOnes attacks; 2m is thorough")

// attackNice is 0 by hand on a machine whose processors suffice for the attackers too.
var attackNice = flag.Int("attack-nice", 19, "how nice the attacking process is to others on the processors")

// hostileBodies are requests that cost more than they look.
type hostileBodies struct {
	Answer   []byte
	Many     []byte // small, for a large answer
	Thoughts []byte
	Latents  []byte // one column of many rows
	Bomb     []byte // an image file of two gigapixels
}

func makeHostileBodies(t *testing.T) hostileBodies {
	return hostileBodies{
		Answer:   scoreBody(t, "a cat", 16, wire.ReturnHeatmaps),
		Many:     scoreBody(t, "a cat", 256, wire.ReturnHeatmaps),
		Thoughts: encode(t, func(q *wire.Request) { q.Mode = reward.ModeThink }, 16),
		Latents: encode(t, func(q *wire.Request) {
			q.Images, q.VAE = nil, "vae"
			q.Latents = &reward.Tensor{Type: reward.Float16, Shape: []int{1, 16, 262144, 1}, Data: make([]byte, 2*16*262144)}
		}, 1),
		Bomb: encode(t, func(q *wire.Request) { q.Images[0].Encoded = bombPNG() }, 1),
	}
}

// hostile are what a connection sends. Each then reads nothing until it is closed or
// its turn is over.
func hostile(bodies hostileBodies) []func(io.Writer) {
	post := func(w io.Writer, path, kind, length string) {
		fmt.Fprintf(w, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\n%s\r\n\r\n", path, kind, length)
	}
	send := func(body []byte) func(io.Writer) {
		return func(w io.Writer) {
			post(w, wire.ScorePath, wire.MediaType, fmt.Sprintf("Content-Length: %d", len(body)))
			_, _ = w.Write(body)
		}
	}
	zeros := make([]byte, 64<<10)
	return []func(io.Writer){
		send(bodies.Answer), // an answer that is not read
		send(bodies.Many), send(bodies.Thoughts), send(bodies.Latents), send(bodies.Bomb),
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
	p := startProcess(t)
	body := scoreBody(t, "a cat", 1)
	calm := p.send(t, errand{Time: min(*attackTime, 20*time.Second), Body: body})()
	before := p.state(t)

	bodies := makeHostileBodies(t)
	over := p.send(t, errand{Time: *attackTime, Hostile: &bodies, Nice: *attackNice})
	polite := p.send(t, errand{Time: *attackTime, Body: body})()
	over()
	peak := p.peakRSS(t)
	after := p.rest(t, before)

	good, calmTail, tail := polite.Statuses[http.StatusOK], calm.percentile(0.99), polite.percentile(0.99)
	t.Logf("%d of %d answered 200, statuses %v; p50 %v, calm %v; p99 %v, calm %v", good, polite.Sent, polite.Statuses,
		polite.percentile(0.5), calm.percentile(0.5), tail, calmTail)
	t.Logf("peak of the server's memory %d MiB, limit %d MiB; before %+v, after %+v", peak>>20, p.limit>>20, before, after)
	// In a short attack chance decides how many are told to come again, and how long the slowest takes.
	if long := *attackTime >= 30*time.Second; long && good*10 < polite.Sent*9 || long && tail >= 5*calmTail {
		t.Errorf("%d of %d answered 200, p99 %v beside a calm %v", good, polite.Sent, tail, calmTail)
	}
	if good == 0 || good+polite.Statuses[http.StatusTooManyRequests] != polite.Sent {
		t.Errorf("statuses %v of %d requests", polite.Statuses, polite.Sent)
	}
	for _, fault := range slices.Concat(calm.Faults, polite.Faults) {
		t.Error(fault)
	}
	if peak >= p.limit {
		t.Errorf("the server took %d bytes, its limit is %d", peak, p.limit)
	}
	if !after.like(before) {
		t.Errorf("after the attack %+v, before %+v", after, before)
	}
}

// attackWith has 64 hostile connections of all kinds at a time.
func attackWith(ctx context.Context, address string, bodies hostileBodies) {
	var attackers sync.WaitGroup
	kinds := hostile(bodies)
	for i := range 64 {
		attackers.Go(func() { keepAttacking(ctx, address, kinds[i%len(kinds)]) })
	}
	attackers.Wait()
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

// politeClient sends small requests one after the other, as fast as twenty a second,
// and notes what came of them.
type politeClient struct {
	Sent     int
	Statuses map[int]int
	Took     []time.Duration
	Faults   []string
}

func (p *politeClient) run(ctx context.Context, address string, body []byte) {
	p.Statuses = map[int]int{}
	ticks := time.NewTicker(50 * time.Millisecond)
	defer ticks.Stop()
	// An address of its own, as a client has that is not among the hostile ones.
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	transport := &http.Transport{DialContext: dialer.DialContext}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	for ctx.Err() == nil {
		<-ticks.C
		began := time.Now()
		p.Sent++
		answer, err := client.Post("http://"+address+wire.ScorePath, wire.MediaType, bytes.NewReader(body))
		if err != nil {
			p.Faults = append(p.Faults, fmt.Sprintf("request %d: %v", p.Sent, err))
			p.Statuses[0]++
			continue
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			p.Faults = append(p.Faults, fmt.Sprintf("request %d: %v", p.Sent, err))
		}
		_ = answer.Body.Close()
		if answer.StatusCode == http.StatusTooManyRequests && answer.Header.Get("Retry-After") == "" {
			p.Faults = append(p.Faults, "429 without Retry-After")
		}
		p.Statuses[answer.StatusCode]++
		p.Took = append(p.Took, time.Since(began))
	}
}

func (p *politeClient) percentile(q float64) time.Duration {
	if len(p.Took) == 0 {
		return 0
	}
	slices.Sort(p.Took)
	return p.Took[int(q*float64(len(p.Took)-1))]
}
