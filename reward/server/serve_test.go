package server_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
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

// reply is what became of a request.
type reply struct {
	status int
	err    error
	took   time.Duration
}

func send(client *http.Client, r *http.Request) <-chan reply {
	done := make(chan reply, 1)
	began := time.Now()
	go func() {
		resp, err := client.Do(r)
		if err != nil {
			done <- reply{0, err, time.Since(began)}
			return
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		done <- reply{resp.StatusCode, err, time.Since(began)}
	}()
	return done
}

func TestDrainingAnswersWhatWasTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStack(t, &rewardtest.Fake{Delay: 10 * time.Second}, nil)
		facing := front.Default()
		facing.DrainDelay = 3 * time.Second
		n, stop := s.serve(t, facing)
		client := n.client(t)
		taken := send(client, post(t.Context(), t, bytes.NewReader(question(t, 1, 2))))
		time.Sleep(time.Second)
		ended := make(chan error, 1)
		go func() { ended <- stop() }()
		synctest.Wait()
		if got := <-send(client, probe(t, "/readyz")); got.status != http.StatusServiceUnavailable {
			t.Errorf("readiness while draining: %+v", got)
		}
		if got := <-send(client, probe(t, "/healthz")); got.status != http.StatusOK {
			t.Errorf("health while draining: %+v", got)
		}
		late := send(client, post(t.Context(), t, bytes.NewReader(question(t, 3))))
		time.Sleep(4 * time.Second)
		if got := <-send(client, probe(t, "/healthz")); got.err == nil {
			t.Errorf("a connection was taken after the delay: %+v", got)
		}
		for what, got := range map[string]reply{"taken before": <-taken, "taken within the delay": <-late} {
			if got.status != http.StatusOK || got.err != nil {
				t.Errorf("request %s: %+v", what, got)
			}
		}
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if st := s.scheduler.Stats(); st.Samples != 0 {
			t.Errorf("the queue still holds %+v", st)
		}
	})
}

func TestDrainingEndsAtItsLimitWithAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		fake := &rewardtest.Fake{Before: func(context.Context, []reward.Sample) error { <-hang; return nil }}
		s := newStack(t, fake, nil)
		n, stop := s.serve(t, front.Default())
		client := n.client(t)
		stuck := send(client, post(t.Context(), t, bytes.NewReader(question(t, 1))))
		time.Sleep(time.Second)
		if err := stop(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Serve: %v, want that the limit was exceeded", err)
		}
		got := <-stuck
		if got.status != http.StatusServiceUnavailable || got.took != 31*time.Second {
			t.Errorf("%+v: want 503 at the limit", got)
		}
		close(hang)
	})
}

func TestARequestThatWaitsForItsGroupIsToldToTryElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStack(t, &rewardtest.Fake{}, nil)
		n, stop := s.serve(t, front.Default())
		c := n.scoring(t, 1)
		q, _ := asked(1, 2)
		q.Groups = reward.Groups{Names: []string{"a", "a"}, Step: "1", Size: 4}
		q.Advantage = &reward.Advantage{Method: reward.AdvantageFlowGRPO}
		failed := make(chan error, 1)
		go func() {
			_, err := c.Score(t.Context(), q)
			failed <- err
		}()
		time.Sleep(time.Second)
		if err := stop(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Serve: %v, want that the limit was exceeded", err)
		}
		if err := <-failed; !errors.Is(err, reward.ErrNotReady) {
			t.Errorf("answer %v, want not_ready", err)
		}
	})
}

func TestServeReturnsWhenItsListenerFails(t *testing.T) {
	s := newStack(t, &rewardtest.Fake{}, nil)
	n := newNetwork()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	facing := front.Default()
	facing.Logger = quiet()
	if err := facing.Serve(t.Context(), n, s.server, s.readiness, nil); err == nil {
		t.Error("no error")
	}
}

func TestTheServerIsReadyOnlyWhileItsModelIsWarm(t *testing.T) {
	r := &front.Readiness{}
	s := newStack(t, &rewardtest.Fake{}, func(_ *batch.Config, c *server.Config) { c.Ready = r.Err })
	want := func(status int) {
		t.Helper()
		if got := get(t, s.server, "/readyz").Code; got != status {
			t.Errorf("readiness is %d, want %d", got, status)
		}
	}
	want(503)
	r.Warm()
	want(200)
	r.Drain()
	want(503)
	r.Warm()
	want(503)
}

func TestARequestWithoutATimeoutHasTheServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStack(t, &rewardtest.Fake{Delay: time.Hour}, func(_ *batch.Config, c *server.Config) { c.Timeout = time.Minute })
		n, stop := s.serve(t, front.Default())
		client := n.client(t)
		got := <-send(client, post(t.Context(), t, bytes.NewReader(question(t, 1))))
		if got.status != http.StatusGatewayTimeout || got.took != time.Minute {
			t.Errorf("%+v, want 504 after the server's minute", got)
		}
		r := post(t.Context(), t, bytes.NewReader(question(t, 2)))
		r.Header.Set(wire.HeaderTimeout, "2.5")
		if got := <-send(client, r); got.status != http.StatusGatewayTimeout || got.took != 2500*time.Millisecond {
			t.Errorf("%+v, want 504 after the client's 2.5 s", got)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func probe(t testing.TB, path string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://server"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
