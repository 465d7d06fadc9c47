package server_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server/servertest"
	"github.com/denseflow/densereward/reward/wire"
)

// footprint is the memory that the process holds, in bytes.
func footprint() uint64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64() - samples[1].Value.Uint64()
}

// peak is the most that the footprint grew by while f ran, with little of it
// being what nobody needs any more.
func peak(f func()) uint64 {
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	debug.FreeOSMemory()
	before := footprint()
	most := before
	done := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for {
			most = max(most, footprint())
			select {
			case <-done:
				return
			default:
			}
		}
	})
	f()
	close(done)
	watcher.Wait()
	return most - before
}

// postBody posts a body of any kind and gives the answer's status and bytes.
func postBody(t *testing.T, address string, body io.Reader, length int64) (int, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address+wire.ScorePath, body)
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = length
	answer, text := servertest.Do(t, r, wire.MediaType)
	return answer.StatusCode, text
}

// checkAnswered fails unless the server still scores.
func checkAnswered(t *testing.T, after string, c *client.Client) {
	t.Helper()
	if p := mustScore(t, c, rollout(2, 64, 64)); p.Errors[0] != nil || p.Errors[1] != nil {
		t.Errorf("after %s: %v", after, p.Errors)
	}
}

// checkHostile posts a hostile body and checks its answer.
func checkHostile(t *testing.T, address string, h rewardtest.Hostile) {
	t.Helper()
	status, text := postBody(t, address, bytes.NewReader(h.Body), int64(len(h.Body)))
	if h.Sample {
		p, err := wire.DecodeResponse(text)
		if err != nil || status != http.StatusOK {
			t.Errorf("%s: status %d, %v", h.Name, status, err)
		} else if !errors.Is(p.Errors[0], h.Want) {
			t.Errorf("%s: sample error %v, want %s", h.Name, p.Errors[0], h.Want.Code())
		}
		return
	}
	e, err := wire.DecodeError(text, status)
	if err != nil || !errors.Is(e, h.Want) || status != h.Want.Status() {
		t.Errorf("%s: status %d, %v (%v), want %s", h.Name, status, e, err, h.Want.Code())
	}
}

func TestHostileBodiesGetTheirErrorsAndTheNextRequestIsAnswered(t *testing.T) {
	c, address := serveOver(t, &rewardtest.Fake{}, nil)
	checkAnswered(t, "the start", c)
	limit := uint64(2 * wire.DefaultLimits().BodyBytes)
	for _, h := range rewardtest.HostileBodies() {
		if grew := peak(func() { checkHostile(t, address, h) }); grew > limit {
			t.Errorf("%s: memory grew by %d bytes, limit %d", h.Name, grew, limit)
		}
		checkAnswered(t, h.Name, c)
	}
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestTheLargestBodyTakesLessThanTwiceItsLimit(t *testing.T) {
	c, address := serveOver(t, &rewardtest.Fake{}, nil)
	limit := wire.DefaultLimits().BodyBytes
	head := "\x82\xa7prompts\x91\xa5a cat\xa6images\x91\xc6\x0f\xff\xff\x00"
	size := int64(0x0fffff00)
	grew := peak(func() {
		body := io.MultiReader(bytes.NewReader([]byte(head)), io.LimitReader(zeros{}, size))
		status, text := postBody(t, address, body, int64(len(head))+size)
		p, err := wire.DecodeResponse(text)
		if status != http.StatusOK || err != nil || !errors.Is(p.Errors[0], reward.ErrImageUnsupported) {
			t.Errorf("status %d, %v", status, err)
		}
	})
	t.Logf("a body of %d MiB: memory grew by %d MiB", (int64(len(head))+size)>>20, grew>>20)
	if grew > uint64(2*limit) {
		t.Errorf("memory grew by %d bytes, limit %d", grew, 2*limit)
	}
	grew = peak(func() {
		status, text := postBody(t, address, io.LimitReader(zeros{}, limit+1), -1)
		if e, err := wire.DecodeError(text, status); err != nil || !errors.Is(e, reward.ErrBodyTooLarge) {
			t.Errorf("a byte too many: status %d, %v, %v", status, e, err)
		}
	})
	t.Logf("a byte too many: memory grew by %d MiB", grew>>20)
	if grew > uint64(2*limit) {
		t.Errorf("a byte too many: memory grew by %d bytes, limit %d", grew, 2*limit)
	}
	checkAnswered(t, "the largest body", c)
}

type counted struct {
	io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

func TestABodyAnnouncedPastTheLimitIsNotRead(t *testing.T) {
	c, address := serveOver(t, &rewardtest.Fake{}, nil)
	const announced = 1 << 30
	body := &counted{Reader: io.LimitReader(zeros{}, announced)}
	grew := peak(func() {
		status, text := postBody(t, address, body, announced)
		if e, err := wire.DecodeError(text, status); err != nil || !errors.Is(e, reward.ErrBodyTooLarge) {
			t.Errorf("status %d, %v, %v", status, e, err)
		}
	})
	if body.n > 16<<20 {
		t.Errorf("%d bytes of it were sent", body.n)
	}
	if grew > 32<<20 {
		t.Errorf("memory grew by %d bytes", grew)
	}
	checkAnswered(t, "a gigabyte", c)
}

func TestWhatIsLeftOfABodyIsNotTheNextRequest(t *testing.T) {
	_, address := serveOver(t, &rewardtest.Fake{}, nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, err = conn.Write([]byte("POST /v1/score HTTP/1.1\r\nHost: a\r\nContent-Type: application/msgpack\r\nContent-Length: 1073741824\r\n\r\n" +
		"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "HTTP/1.1 "); n != 1 || !strings.Contains(string(text), "body_too_large") {
		t.Errorf("%d answers:\n%s", n, text)
	}
}
