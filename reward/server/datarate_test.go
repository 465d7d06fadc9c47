package server_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/front"
	"github.com/denseflow/densereward/reward/wire"
)

// trickle gives its bytes in pieces with pauses between them, until the test is
// over.
type trickle struct {
	ctx   context.Context
	data  []byte
	piece int
	pause time.Duration
}

func (t *trickle) Read(p []byte) (int, error) {
	if len(t.data) == 0 {
		return 0, io.EOF
	}
	select {
	case <-t.ctx.Done():
		return 0, t.ctx.Err()
	case <-time.After(t.pause):
	}
	n := copy(p[:min(len(p), t.piece)], t.data)
	t.data = t.data[n:]
	return n, nil
}

// noMaps is a Fake whose answers are small.
func noMaps() *rewardtest.Fake { return &rewardtest.Fake{Maps: []reward.MapSpec{}} }

// answerRoom is what an answer to one sample of noMaps takes at most.
const answerRoom = 4 << 10

// slowRate is two seconds, then 1 KiB a second.
func slowRate(_ *batch.Config, c *server.Config) {
	c.DataRate = server.DataRate{Grace: 2 * time.Second, MinRate: 1 << 10}
}

func TestSlowUploadsAreCutOff(t *testing.T) {
	for _, tt := range []struct {
		name  string
		piece int
		pause time.Duration
		want  int
	}{
		{"at twice the least rate", 2 << 10, time.Second, http.StatusOK},
		{"at half of it", 1 << 10, 2 * time.Second, http.StatusRequestTimeout},
		{"stalled from the beginning", 1, time.Hour, http.StatusRequestTimeout},
		{"one byte at a time", 1, 100 * time.Millisecond, http.StatusRequestTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStack(t, &rewardtest.Fake{}, slowRate)
				n, stop := s.serve(t, front.Default())
				body := question(t, 1) // 12 KiB
				began := time.Now()
				r := post(t.Context(), t, &trickle{t.Context(), body, tt.piece, tt.pause})
				r.ContentLength = int64(len(body))
				resp, err := n.client(t).Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				if resp.StatusCode != tt.want {
					t.Errorf("status %d, want %d", resp.StatusCode, tt.want)
				}
				if took := time.Since(began); took > 20*time.Second {
					t.Errorf("was cut off after %v only", took)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestALongEvaluationDoesNotLookLikeASlowClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStack(t, &rewardtest.Fake{Delay: 5 * time.Minute}, slowRate)
		n, stop := s.serve(t, front.Default())
		client := n.client(t)
		for range 2 { // the second on the same connection
			resp, err := client.Do(post(t.Context(), t, bytes.NewReader(question(t, 1))))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
				t.Errorf("status %d, error %v", resp.StatusCode, err)
			}
			resp.Body.Close()
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestAClientThatDoesNotTakeItsAnswerIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStack(t, &rewardtest.Fake{}, slowRate)
		n, stop := s.serve(t, front.Default())
		conn, err := n.DialContext(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		body := question(t, 1)
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: server\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", wire.ScorePath, wire.MediaType, len(body))
		if _, err := conn.Write(body); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // and does not read
		if got, err := io.ReadAll(conn); err != nil || len(got) > 64<<10 {
			t.Errorf("%d bytes and error %v: want the connection closed", len(got), err)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestAStalledUploadThatNobodyReadsIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStack(t, &rewardtest.Fake{}, slowRate)
		n, stop := s.serve(t, front.Default())
		conn, err := n.DialContext(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		// The wrong type: the handler answers without reading the body.
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: server\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n", wire.ScorePath)
		began := time.Now()
		got, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 415") {
			t.Errorf("%q, error %v", got, err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the connection stayed open for %v", took)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestTwoStalledUploadsDoNotKeepAThirdClientWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := question(t, 1)
		s := newStack(t, noMaps(), func(_ *batch.Config, c *server.Config) {
			c.BodyMemory = int64(3*len(body)) + answerRoom
		})
		n, stop := s.serve(t, front.Default())
		for range 2 {
			conn, err := n.DialContext(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: server\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", wire.ScorePath, wire.MediaType, len(body))
			if _, err := conn.Write(body[:len(body)/2]); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		resp, err := n.client(t).Do(post(t.Context(), t, bytes.NewReader(body)))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if took := time.Since(began); resp.StatusCode != http.StatusOK || took > time.Second {
			t.Errorf("status %d after %v", resp.StatusCode, took)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestBodiesBeyondTheMemoryForThemAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := question(t, 1)
		s := newStack(t, noMaps(), func(_ *batch.Config, c *server.Config) {
			c.BodyMemory = int64(3*len(body)) + answerRoom
		})
		n, stop := s.serve(t, front.Default())
		client := n.client(t)
		ctx, leave := context.WithCancel(t.Context())
		var held sync.WaitGroup
		for range 3 {
			held.Go(func() {
				r := post(ctx, t, io.MultiReader(bytes.NewReader(body[:200]), &trickle{t.Context(), body[200:], 1, time.Hour}))
				r.ContentLength = int64(len(body))
				if resp, err := client.Do(r); err == nil {
					resp.Body.Close()
				}
			})
		}
		synctest.Wait()
		for _, announced := range []bool{true, false} {
			r := post(t.Context(), t, bytes.NewReader(body))
			if !announced {
				r = post(t.Context(), t, io.MultiReader(bytes.NewReader(body))) // chunked
			}
			resp, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") != "2" {
				t.Errorf("announced %v: status %d, Retry-After %q", announced, resp.StatusCode, resp.Header.Get("Retry-After"))
			}
		}
		leave()
		held.Wait()
		synctest.Wait()
		resp, err := client.Do(post(t.Context(), t, bytes.NewReader(body)))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("status %d after the other clients left", resp.StatusCode)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestAHeaderThatDoesNotEndIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStack(t, &rewardtest.Fake{}, nil)
		n, stop := s.serve(t, front.Default())
		for _, sent := range []string{"", "GET /healthz HTTP/1.1\r\nHost: s"} {
			conn, err := n.DialContext(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, sent); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if _, err := io.ReadAll(conn); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took > 11*time.Second {
				t.Errorf("%q: cut off after %v", sent, took)
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
