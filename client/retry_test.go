package client_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
)

const ms = time.Millisecond

func TestWhatMayPassIsTriedAgainAfterGrowingPauses(t *testing.T) {
	cutShort := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte("half"))
		panic(http.ErrAbortHandler)
	}
	date := newClock().now().Add(7 * time.Second).Format(http.TimeFormat)
	for name, c := range map[string]struct {
		steps []http.HandlerFunc
		want  []time.Duration
	}{
		"nothing fails":                     {},
		"a full queue":                      {[]http.HandlerFunc{fails(reward.ErrOverloaded)}, []time.Duration{100 * ms}},
		"a full queue that names its time":  {[]http.HandlerFunc{fails(reward.ErrOverloaded, "Retry-After", "3")}, []time.Duration{3 * time.Second}},
		"a full queue that names a date":    {[]http.HandlerFunc{fails(reward.ErrOverloaded, "Retry-After", date)}, []time.Duration{7 * time.Second}},
		"a Retry-After of nonsense":         {[]http.HandlerFunc{fails(reward.ErrOverloaded, "Retry-After", "soon")}, []time.Duration{100 * ms}},
		"a server that is not ready, twice": {[]http.HandlerFunc{fails(reward.ErrNotReady), fails(reward.ErrNotReady)}, []time.Duration{100 * ms, 200 * ms}},
		"too many groups":                   {[]http.HandlerFunc{fails(reward.ErrTooManyGroups)}, []time.Duration{100 * ms}},
		"a connection that breaks":          {[]http.HandlerFunc{breaks}, []time.Duration{100 * ms}},
		"an answer that is cut short":       {[]http.HandlerFunc{cutShort}, []time.Duration{100 * ms}},
		"a proxy that is overloaded":        {[]http.HandlerFunc{func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusServiceUnavailable) }}, []time.Duration{100 * ms}},
		"a proxy whose server restarts":     {[]http.HandlerFunc{func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) }}, []time.Duration{100 * ms}},
		"nine failures of all kinds": {
			[]http.HandlerFunc{breaks, fails(reward.ErrOverloaded), breaks, breaks, fails(reward.ErrNotReady), breaks, breaks, breaks, breaks},
			[]time.Duration{100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 5 * time.Second, 5 * time.Second, 5 * time.Second},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &script{steps: c.steps, next: newServer(t, &rewardtest.Fake{})}
			clock := newClock()
			p, err := newClient(t, listen(t, s), clock.option()).Score(t.Context(), rollout(2))
			if err != nil || p.Errors[0] != nil {
				t.Fatalf("%v, %v", p, err)
			}
			if !slices.Equal(clock.pauses, c.want) {
				t.Errorf("paused for %v, want %v", clock.pauses, c.want)
			}
		})
	}
}

func TestHalfOfAPauseIsJitter(t *testing.T) {
	s := &script{steps: []http.HandlerFunc{breaks, breaks}, next: newServer(t, &rewardtest.Fake{})}
	clock := newClock()
	c := newClient(t, listen(t, s), client.WithBackoff(time.Second, 4*time.Second),
		client.WithClock(clock.now, clock.sleep, func() float64 { return 0 }))
	if _, err := c.Score(t.Context(), rollout(1)); err != nil {
		t.Fatal(err)
	}
	if want := []time.Duration{500 * ms, time.Second}; !slices.Equal(clock.pauses, want) {
		t.Errorf("paused for %v, want %v", clock.pauses, want)
	}
}

func TestWhatCannotPassIsNotTriedAgain(t *testing.T) {
	html := func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusGatewayTimeout) }
	nonsense := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("nonsense")) }
	for name, c := range map[string]struct {
		step http.HandlerFunc
		want string
	}{
		"a request that is refused":           {fails(reward.ErrGridMismatch.With("grid: why")), "request id-1: grid_mismatch: grid: why"},
		"a fault of the server":               {fails(reward.ErrInternal), "internal"},
		"a deadline":                          {fails(reward.ErrDeadlineExceeded), "deadline_exceeded"},
		"an incomplete group":                 {fails(reward.ErrGroupIncomplete), "group_incomplete"},
		"a page of HTML":                      {html, "http_504"},
		"an answer that is not a response":    {nonsense, "response: "},
		"a code that this client has not met": {fails(reward.ErrorByCode("brand_new", 418, "m")), "brand_new: m"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &script{steps: []http.HandlerFunc{c.step}, next: newServer(t, &rewardtest.Fake{})}
			_, err := newClient(t, listen(t, s), newClock().option()).Score(t.Context(), rollout(1))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
			if n := s.requests(); n != 1 {
				t.Errorf("sent %d times", n)
			}
		})
	}
}

func TestErrorsMatchThoseOfTheProtocol(t *testing.T) {
	s := &script{steps: []http.HandlerFunc{fails(reward.ErrUnknownVAE.With("vae: x"))}}
	_, err := newClient(t, listen(t, s)).Score(t.Context(), rollout(1))
	var e *reward.Error
	if !errors.Is(err, reward.ErrUnknownVAE) || !errors.As(err, &e) || e.Message() != "vae: x" || e.Status() != 404 {
		t.Errorf("got %v", err)
	}
}

func TestTriesAreBounded(t *testing.T) {
	s := &script{next: fails(reward.ErrOverloaded)}
	clock := newClock()
	_, err := newClient(t, listen(t, s), client.WithTries(3), clock.option()).Score(t.Context(), rollout(1))
	if !errors.Is(err, reward.ErrOverloaded) || !strings.Contains(err.Error(), "tried 3 times") {
		t.Errorf("got %v", err)
	}
	if s.requests() != 3 || len(clock.pauses) != 2 {
		t.Errorf("sent %d times with %d pauses", s.requests(), len(clock.pauses))
	}
}

func TestTheContextEndsAPause(t *testing.T) {
	s := &script{next: fails(reward.ErrOverloaded, "Retry-After", "3600")}
	ctx, cancel := context.WithCancel(t.Context())
	clock := newClock()
	c := newClient(t, listen(t, s), client.WithClock(clock.now, func(ctx context.Context, _ time.Duration) error {
		cancel()
		return ctx.Err()
	}, func() float64 { return 0 }))
	_, err := c.Score(ctx, rollout(1))
	if !errors.Is(err, context.Canceled) || !errors.Is(err, reward.ErrOverloaded) || s.requests() != 1 {
		t.Errorf("got %v after %d requests", err, s.requests())
	}
}

func TestACancelledRequestIsNotTriedAgain(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := &script{next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cancel()
		hangs(w, r)
	})}
	_, err := newClient(t, listen(t, s), newClock().option()).Score(ctx, rollout(1))
	if !errors.Is(err, context.Canceled) || s.requests() != 1 {
		t.Errorf("got %v after %d requests", err, s.requests())
	}
}
