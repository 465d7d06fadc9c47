package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/front"
	"github.com/denseflow/densereward/reward/wire"
)

// scoring is a client of the stack's network.
func (n *network) scoring(t *testing.T, tries int) *client.Client {
	t.Helper()
	c, err := client.New("http://server", client.WithHTTPClient(n.client(t)), client.WithTries(tries), client.WithTimeout(0))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// wantScored checks that p scores the images with the given seeds as the
// fake does.
func wantScored(t testing.TB, p *wire.Response, q *wire.Request, images []*reward.Image) {
	t.Helper()
	for i := range q.Prompts {
		if p.Errors[i] != nil {
			t.Errorf("sample %d: %v", i, p.Errors[i])
			continue
		}
		want := rewardtest.Answer(reward.Sample{Image: images[i], Prompt: q.Prompts[i], Mode: q.Mode}, 64)
		for s := range p.Scores {
			if p.Scores[s].Values[i] != want.Scores[s] {
				t.Errorf("sample %d has %v %v, its own is %v", i, p.Scores[s].Name, p.Scores[s].Values[i], want.Scores[s])
			}
		}
	}
}

// asked is a request for images with seeds from first on, and the images.
func asked(first uint64, n int) (*wire.Request, []*reward.Image) {
	q := &wire.Request{}
	images := make([]*reward.Image, n)
	for i := range images {
		seed := first + uint64(i)
		images[i] = rewardtest.Image(seed, 64, 64)
		q.Prompts = append(q.Prompts, fmt.Sprintf("image %d", seed))
		q.Images = append(q.Images, wire.Image{Tensor: rewardtest.Tensor(images[i])})
	}
	return q, images
}

func TestFaultsOfTheEvaluatorAreAnsweredAndCounted(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before func(hang <-chan struct{}) error
		want   error
		metric []string
	}{
		{"an error", func(<-chan struct{}) error { return errors.New("out of luck") }, reward.ErrEvaluatorFailed,
			[]string{`densereward_samples_total{event="evaluator_failed",model="fake"} 2`, `densereward_sample_errors_total{code="evaluator_failed"} 2`}},
		{"a panic", func(<-chan struct{}) error { panic("boom") }, reward.ErrEvaluatorFailed,
			[]string{`densereward_samples_total{event="evaluator_panicked",model="fake"} 2`, `densereward_sample_errors_total{code="evaluator_failed"} 2`}},
		{"no memory left", func(<-chan struct{}) error { return reward.ErrOutOfMemory }, reward.ErrEvaluatorFailed,
			[]string{`densereward_samples_total{event="out_of_memory",model="fake"} 3`, `densereward_max_batch_size{model="fake"} 1`}},
		{"a hang beyond the deadline", func(hang <-chan struct{}) error { <-hang; return nil }, reward.ErrDeadlineExceeded,
			[]string{
				`densereward_samples_total{event="expired",model="fake"} 2`,
				`densereward_samples_total{event="evaluator_hung",model="fake"} 1`,
				`densereward_evaluators_hung{model="fake"} 1`,
				`densereward_http_requests_total{code="deadline_exceeded",method="POST",path="/v1/score",status="504"} 1`,
			}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hang := make(chan struct{})
				var mended atomic.Bool
				fake := &rewardtest.Fake{Before: func(context.Context, []reward.Sample) error {
					if mended.Load() {
						return nil
					}
					return tt.before(hang)
				}}
				s := newStack(t, fake, func(q *batch.Config, c *server.Config) {
					q.MaxDelay, c.Timeout = time.Millisecond, 5*time.Second
				})
				n, stop := s.serve(t, front.Default())
				c := n.scoring(t, 1)
				q, images := asked(1, 2)
				p, err := c.Score(t.Context(), q)
				if err == nil {
					err = errors.Join(p.Errors[0], p.Errors[1])
				}
				if !errors.Is(err, tt.want) {
					t.Errorf("answer %v, want %v", err, tt.want)
				}
				time.Sleep(2 * time.Second)
				s.wantMetrics(t, tt.metric...)
				mended.Store(true)
				close(hang)
				p, err = c.Score(t.Context(), q)
				if err != nil {
					t.Fatalf("the next request: %v", err)
				}
				wantScored(t, p, q, images)
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestSamplesOfAClientThatLeftAfterItsBodyAreNotEvaluated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStack(t, &rewardtest.Fake{Delay: time.Minute}, nil)
		n, stop := s.serve(t, front.Default())
		stays := send(n.client(t), post(t.Context(), t, bytes.NewReader(question(t, 1))))
		time.Sleep(time.Second)
		ctx, leave := context.WithCancel(t.Context())
		left := send(n.client(t), post(ctx, t, bytes.NewReader(question(t, 2, 3, 4))))
		time.Sleep(time.Second)
		if st := s.scheduler.Stats(); st.Samples != 4 {
			t.Errorf("%+v: want both requests in the queue", st)
		}
		leave()
		<-left
		synctest.Wait()
		if st := s.scheduler.Stats(); st.Samples != 1 {
			t.Errorf("%+v: want the samples of the client that left gone", st)
		}
		if got := <-stays; got.status != http.StatusOK {
			t.Errorf("%+v", got)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if scored := s.fake.Samples(); scored != 1 {
			t.Errorf("%d samples were evaluated, want 1", scored)
		}
		s.wantMetrics(t, `densereward_samples_total{event="cancelled",model="fake"} 3`)
	})
}

func TestBodiesThatPeersTripOverAreRefused(t *testing.T) {
	s := newStack(t, &rewardtest.Fake{}, nil)
	whole := question(t, 1, 2)
	fewer := bytes.Replace(whole, []byte("\xa7prompts\x92"), []byte("\xa7prompts\x93\xa5a dog"), 1)
	for _, tt := range []struct {
		name string
		body []byte
		want *reward.Error
	}{
		{"a body cut short", whole[:len(whole)/2], reward.ErrMalformedBody},
		{"fewer images than prompts", fewer, reward.ErrImageCountMismatch},
		{"a pickle", []byte("\x80\x03}(X\x06\x00\x00\x00imagese."), reward.ErrMalformedBody},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := ask(t, s.server, tt.body)
			e, err := wire.DecodeError(w.Body.Bytes(), w.Code)
			if err != nil || !errors.Is(e, tt.want) || w.Code != 400 {
				t.Errorf("status %d, %v (%v), want %v", w.Code, e, err, tt.want)
			}
			for _, sign := range []string{"goroutine", ".go:", "panic", "Traceback"} {
				if strings.Contains(w.Body.String(), sign) {
					t.Errorf("the answer tells of the inside: %q", w.Body)
				}
			}
		})
	}
	if n := s.fake.Samples(); n != 0 {
		t.Errorf("%d samples were evaluated", n)
	}
}

func TestAConnectionThatEndsInItsBodyIsAMalformedOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStack(t, &rewardtest.Fake{}, nil)
		n, stop := s.serve(t, front.Default())
		conn, err := n.DialContext(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		body := question(t, 1)
		if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: server\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
			wire.ScorePath, wire.MediaType, len(body), body[:100]); err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		s.wantMetrics(t, `densereward_http_requests_total{code="malformed_body",method="POST",path="/v1/score",status="400"} 1`)
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestAFullQueueIsAnsweredWithRetryAfterAndRetriesGetThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStack(t, &rewardtest.Fake{Delay: time.Second}, func(q *batch.Config, _ *server.Config) {
			q.MaxBatch, q.QueueSamples = 4, 8
		})
		n, stop := s.serve(t, front.Default())
		c := n.scoring(t, 100)
		var clients sync.WaitGroup
		for i := range 12 {
			clients.Go(func() {
				q, images := asked(uint64(10*i), 4)
				p, err := c.Score(t.Context(), q)
				if err != nil {
					t.Errorf("client %d: %v", i, err)
					return
				}
				wantScored(t, p, q, images)
			})
		}
		clients.Wait()
		refused := linesWith(s.scrape(t), `status="429"`)
		if refused == "" {
			t.Error("nobody was refused: the test does not fill the queue")
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		s.wantMetrics(t, `densereward_samples_total{event="scored",model="fake"} 48`)
	})
}

// TestTerminationUnderLoadLosesNothing drains a server under load: each request
// is answered as it should be, or told to try elsewhere.
func TestTerminationUnderLoadLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStack(t, &rewardtest.Fake{Delay: 200 * time.Millisecond}, nil)
		facing := front.Default()
		facing.DrainDelay = time.Second
		n, stop := s.serve(t, facing)
		c := n.scoring(t, 1)
		var stopped atomic.Bool
		var answered, refused atomic.Int64
		var clients sync.WaitGroup
		for i := range 16 {
			clients.Go(func() {
				for k := uint64(0); ; k++ {
					q, images := asked(uint64(i)<<32+100*k, 5)
					p, err := c.Score(t.Context(), q)
					if err != nil {
						if !stopped.Load() || !tryElsewhere(err) {
							t.Errorf("client %d: %v", i, err)
						}
						refused.Add(1)
						return
					}
					wantScored(t, p, q, images)
					answered.Add(1)
				}
			})
		}
		time.Sleep(5 * time.Second)
		stopped.Store(true)
		if err := stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
		clients.Wait()
		if refused.Load() != 16 || answered.Load() < 16 {
			t.Errorf("%d answered, %d refused", answered.Load(), refused.Load())
		}
		if st := s.scheduler.Stats(); st.Samples != 0 || st.Bytes != 0 {
			t.Errorf("the queue still holds %+v", st)
		}
	})
}

// tryElsewhere reports whether err is one that a client answers by trying again:
// no connection, or a server that is not ready.
func tryElsewhere(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, reward.ErrNotReady) || errors.Is(err, io.EOF) ||
		strings.Contains(err.Error(), "connection")
}
