package server_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/internal/loadgen"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/wire"
)

// soakTime is how long the soak lasts: go test ./reward/server -run Soak -soak 10m -timeout 20m -v
var soakTime = flag.Duration("soak", time.Second, "length of the soak test")

// soak is a server over real connections with clients of every kind.
type soak struct {
	t       *testing.T
	stack   *stack
	address string
	sent    []sentImage

	valid, images                                atomic.Int64
	malformed, oversized, slow, vanished, cutOff atomic.Int64
}

// TestSoak keeps a server saturated by valid clients in every image form, among
// malformed, oversized, slow and vanishing ones. Each valid request must be
// answered with its own results, and when it is over nothing may be left: no
// queue, no goroutine, no heap.
func TestSoak(t *testing.T) {
	k := newSoak(t)
	k.load(time.Second) // what is made once is made
	goroutines, heap := k.rest(0, 0)
	k.load(*soakTime)
	goroutinesAfter, heapAfter := k.rest(goroutines, heap+soakSlack)
	t.Logf("%v: %d valid requests with %d images; %d malformed, %d oversized, %d slow (%d cut off), %d vanished",
		*soakTime, k.valid.Load(), k.images.Load(), k.malformed.Load(), k.oversized.Load(), k.slow.Load(), k.cutOff.Load(), k.vanished.Load())
	t.Logf("samples and refusals of the server:\n%s%s", linesWith(k.stack.scrape(t), "samples_total"), linesWith(k.stack.scrape(t), `status="4`))
	t.Logf("goroutines %d, then %d; heap %.1f MB, then %.1f MB", goroutines, goroutinesAfter, float64(heap)/1e6, float64(heapAfter)/1e6)
	if goroutinesAfter > goroutines {
		t.Errorf("%d goroutines before, %d after", goroutines, goroutinesAfter)
	}
	if heapAfter > heap+soakSlack {
		t.Errorf("%d bytes of heap before, %d after", heap, heapAfter)
	}
	if st := k.stack.scheduler.Stats(); st.Samples != 0 || st.Bytes != 0 || st.Busy != 0 {
		t.Errorf("the queue still holds %+v", st)
	}
	for kind, n := range map[string]*atomic.Int64{
		"valid": &k.valid, "malformed": &k.malformed, "oversized": &k.oversized, "slow": &k.slow, "vanishing": &k.vanished,
	} {
		if n.Load() == 0 {
			t.Errorf("no %s client had its turn", kind)
		}
	}
}

// soakSlack is what the heap may differ by between two quiet moments. A load of
// ten minutes that lost one body in a thousand would go past it.
const soakSlack = 4 << 20

func newSoak(t *testing.T) *soak {
	k := &soak{t: t}
	k.stack = newStack(t, &rewardtest.Fake{Delay: 2 * time.Millisecond}, func(q *batch.Config, c *server.Config) {
		q.MaxBatch, q.MaxDelay, q.QueueSamples, q.CacheBytes = 16, time.Millisecond, 40, 1<<20
		c.Limits = wire.DefaultLimits()
		c.Limits.BodyBytes = 4 << 20
		c.DataRate = server.DataRate{Grace: 200 * time.Millisecond, MinRate: 1 << 20}
	})
	web := httptest.NewServer(k.stack.server)
	t.Cleanup(web.Close)
	k.address = web.Listener.Addr().String()
	for seed := range uint64(20) {
		for _, form := range []loadgen.Form{loadgen.Raw, loadgen.PNG, loadgen.JPEG} {
			k.sent = append(k.sent, newSentImage(t, seed, form))
		}
	}
	return k
}

// sentImage is an image as it travels and as the server should see it.
type sentImage struct {
	travels wire.Image
	seen    *reward.Image
}

func newSentImage(t *testing.T, seed uint64, form loadgen.Form) sentImage {
	t.Helper()
	p := sentImage{seen: rewardtest.Image(seed, 256, 192)}
	var err error
	if p.travels, err = loadgen.Encode(p.seen, form); err != nil {
		t.Fatal(err)
	}
	if form == loadgen.JPEG { // which loses something
		decoded, err := image.Decode(p.travels.Encoded, image.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		p.seen = decoded
	}
	return p
}

// load runs all clients for a while.
func (k *soak) load(d time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	transport := &http.Transport{MaxIdleConnsPerHost: 32}
	defer transport.CloseIdleConnections()
	web := &http.Client{Transport: transport}
	var clients sync.WaitGroup
	run := func(kind uint64, n int, turn func(*rand.Rand, *http.Client)) {
		for i := range n {
			rng := rand.New(rand.NewPCG(kind, uint64(i)))
			clients.Go(func() {
				for ctx.Err() == nil {
					turn(rng, web)
				}
			})
		}
	}
	run(1, 8, k.beValid)
	run(2, 1, k.beMalformed)
	run(3, 1, k.beOversized)
	run(4, 4, k.beSlow)
	run(5, 2, k.vanish)
	clients.Wait()
}

// beValid sends a request in random forms and checks that it is answered with its
// own results.
func (k *soak) beValid(rng *rand.Rand, web *http.Client) {
	q := &wire.Request{}
	images := make([]*reward.Image, 1+rng.IntN(8))
	for i := range images {
		p := k.sent[rng.IntN(len(k.sent))]
		images[i] = p.seen
		q.Prompts = append(q.Prompts, fmt.Sprintf("image %d", rng.IntN(10)))
		q.Images = append(q.Images, p.travels)
	}
	q.Grid = reward.GridSpec{Height: 8, Width: 8}
	if rng.IntN(4) == 0 {
		q.Mode = reward.ModeThink
	}
	c, err := client.New("http://"+k.address, client.WithHTTPClient(web), client.WithTries(1000))
	if err != nil {
		k.t.Error(err)
		return
	}
	p, err := c.Score(context.Background(), q)
	if errors.Is(err, reward.ErrBodyTimeout) {
		k.cutOff.Add(1) // a machine that is busy elsewhere makes a slow client of any
		return
	}
	if err != nil {
		k.t.Errorf("a valid request failed: %v", err)
		return
	}
	wantScored(k.t, p, q, images)
	k.valid.Add(1)
	k.images.Add(int64(len(images)))
}

// post posts a body and gives the status; 0 if the connection ended.
func (k *soak) post(ctx context.Context, web *http.Client, body io.Reader, length int64) int {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+k.address+wire.ScorePath, body)
	if err != nil {
		k.t.Error(err)
		return 0
	}
	r.ContentLength = length
	r.Header.Set("Content-Type", wire.MediaType)
	resp, err := web.Do(r)
	if err != nil {
		return 0
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0
	}
	return resp.StatusCode
}

// beMalformed sends a request with random bytes spoilt, or none that is one.
func (k *soak) beMalformed(rng *rand.Rand, web *http.Client) {
	body := question(k.t, rng.Uint64N(10), 1)
	switch rng.IntN(3) {
	case 0:
		body = body[:rng.IntN(len(body))]
	case 1:
		for range 1 + rng.IntN(20) {
			body[rng.IntN(100)] = byte(rng.Uint32())
		}
	default:
		for i := range body {
			body[i] = byte(rng.Uint32())
		}
	}
	switch status := k.post(context.Background(), web, bytes.NewReader(body), int64(len(body))); status {
	case 200, 400, 404, 408, 413, 415, 429, 0: // what is spoilt may still be a request; one that a busy machine makes slow is cut off
		k.malformed.Add(1)
	default:
		k.t.Errorf("a malformed request was answered with %d", status)
	}
}

// beOversized sends more than the limit, announced or not.
func (k *soak) beOversized(rng *rand.Rand, web *http.Client) {
	size := int64(4<<20 + 1 + rng.IntN(8<<20))
	announced := size
	if rng.IntN(2) == 0 {
		announced = -1
	}
	switch status := k.post(context.Background(), web, io.LimitReader(zeros{}, size), announced); status {
	case http.StatusRequestEntityTooLarge, http.StatusRequestTimeout, 0: // the rest may meet a closed connection, or come too slowly
		k.oversized.Add(1)
	default:
		k.t.Errorf("an oversized request was answered with %d", status)
	}
}

// beSlow sends a valid request in pieces, some of them too slowly.
func (k *soak) beSlow(rng *rand.Rand, web *http.Client) {
	body := question(k.t, 1, 2, 3, 4)
	pause := time.Duration(rng.IntN(60)) * time.Millisecond
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	switch status := k.post(ctx, web, &trickle{ctx, body, 8 << 10, pause}, int64(len(body))); status {
	case http.StatusRequestTimeout, 0:
		k.cutOff.Add(1)
		fallthrough
	case http.StatusOK, http.StatusTooManyRequests:
		k.slow.Add(1)
	default:
		k.t.Errorf("a slow request was answered with %d", status)
	}
}

// vanish leaves in the middle of its body, or after it.
func (k *soak) vanish(rng *rand.Rand, _ *http.Client) {
	conn, err := net.Dial("tcp", k.address)
	if err != nil {
		k.t.Error(err)
		return
	}
	defer func() { _ = conn.Close() }()
	body := question(k.t, rng.Uint64(), rng.Uint64(), rng.Uint64())
	sent := len(body)
	if rng.IntN(2) == 0 {
		sent = rng.IntN(sent)
	}
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: server\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
		wire.ScorePath, wire.MediaType, len(body), body[:sent])
	if err != nil {
		k.t.Error(err)
	}
	k.vanished.Add(1)
}

// rest waits until the server is at rest, with no more goroutines and heap than
// given if they are not 0, or for two minutes, when something is lost, and returns what there is.
func (k *soak) rest(goroutines int, heap uint64) (int, uint64) {
	var m runtime.MemStats
	for deadline := time.Now().Add(2 * time.Minute); ; {
		runtime.GC()
		runtime.GC() // pools keep things for one collection
		runtime.ReadMemStats(&m)
		n := runtime.NumGoroutine()
		idle := k.stack.scheduler.Stats().Samples == 0
		enough := goroutines == 0 || (n <= goroutines && m.HeapAlloc <= heap)
		if idle && enough && k.settled(n) || time.Now().After(deadline) {
			return n, m.HeapAlloc
		}
	}
}

// settled reports whether the number of goroutines stays what it is for a while.
func (k *soak) settled(n int) bool {
	for range 20 {
		runtime.GC()
		if runtime.NumGoroutine() != n {
			return false
		}
	}
	return true
}
