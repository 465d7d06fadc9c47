package client_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
)

// full answers that the queue is full for so many seconds.
func full(seconds string) http.HandlerFunc {
	return fails(reward.ErrOverloaded, "Retry-After", seconds)
}

func TestAPauseIsThatOfTheServerAskedNext(t *testing.T) {
	for name, c := range map[string]struct {
		a, b   []http.HandlerFunc // what the two servers do before they answer
		want   [2]int             // requests to each
		pauses []time.Duration
	}{
		"one is full for long and the other breaks":            {[]http.HandlerFunc{full("60")}, []http.HandlerFunc{breaks}, [2]int{1, 2}, []time.Duration{100 * ms}},
		"one is full for long and the other breaks again":      {[]http.HandlerFunc{full("60")}, []http.HandlerFunc{breaks, breaks}, [2]int{1, 3}, []time.Duration{100 * ms, 200 * ms}},
		"one breaks and the other is full for long":            {[]http.HandlerFunc{breaks}, []http.HandlerFunc{full("60")}, [2]int{2, 1}, []time.Duration{100 * ms}},
		"both are full and the other for less":                 {[]http.HandlerFunc{full("60")}, []http.HandlerFunc{full("5")}, [2]int{1, 2}, []time.Duration{5 * time.Second}},
		"one is full for long and the other uses up its tries": {[]http.HandlerFunc{full("60")}, []http.HandlerFunc{breaks, breaks, breaks}, [2]int{2, 3}, []time.Duration{100 * ms, 200 * ms, 60*time.Second - 300*ms}},
	} {
		t.Run(name, func(t *testing.T) {
			a := &script{steps: c.a, next: newServer(t, &rewardtest.Fake{})}
			b := &script{steps: c.b, next: newServer(t, &rewardtest.Fake{})}
			clock := newClock()
			mustScore(t, newClient(t, listen(t, a), client.WithServers(listen(t, b)), client.WithTries(3), clock.option()), rollout(1))
			if got := [2]int{a.requests(), b.requests()}; got != c.want || !slices.Equal(clock.pauses, c.pauses) {
				t.Errorf("requests went %v with pauses %v, want %v with %v", got, clock.pauses, c.want, c.pauses)
			}
		})
	}
}

func TestAFreshRequestWaitsWhileAllServersRest(t *testing.T) {
	clock := newClock()
	scripts, c := three(t, clock, client.WithTries(1))
	for i, seconds := range []string{"60", "5", "30"} {
		scripts[i].steps = []http.HandlerFunc{full(seconds)}
	}
	if _, err := c.Score(t.Context(), rollout(1)); !errors.Is(err, reward.ErrOverloaded) {
		t.Fatal(err)
	}
	mustScore(t, c, rollout(1))
	if counts(scripts) != [3]int{1, 2, 1} || !slices.Equal(clock.pauses, []time.Duration{5 * time.Second}) {
		t.Errorf("requests went %v with pauses %v", counts(scripts), clock.pauses)
	}
}

func TestAFreshRequestThatEndsWhileAllServersRestSaysSo(t *testing.T) {
	s := &script{next: full("60")}
	clock := newClock()
	c := newClient(t, listen(t, s), client.WithTries(1), clock.option())
	if _, err := c.Score(t.Context(), rollout(1)); !errors.Is(err, reward.ErrOverloaded) {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Score(ctx, rollout(1)); !errors.Is(err, context.Canceled) || s.requests() != 1 {
		t.Errorf("got %v after %d requests", err, s.requests())
	}
}

// A request that was taken before the queue was full says nothing of it.
func TestASuccessDoesNotEndTheRestThatAnotherRequestWasTold(t *testing.T) {
	clock := newClock()
	s := &script{}
	c := newClient(t, listen(t, s), client.WithTries(1), clock.option())
	answers := newServer(t, &rewardtest.Fake{})
	s.next = answers
	s.steps = []http.HandlerFunc{
		func(w http.ResponseWriter, r *http.Request) {
			if _, err := c.Score(t.Context(), rollout(1)); !errors.Is(err, reward.ErrOverloaded) {
				t.Errorf("the second request: %v", err)
			}
			answers.ServeHTTP(w, r)
		},
		full("60"),
	}
	mustScore(t, c, rollout(1))
	mustScore(t, c, rollout(1))
	if s.requests() != 3 || !slices.Equal(clock.pauses, []time.Duration{time.Minute}) {
		t.Errorf("%d requests with pauses %v, want a minute's", s.requests(), clock.pauses)
	}
}

// Each way of saying 429 keeps the members of a group together.
func TestAStepWaitsForAServerThatHasTooMuchOfAnything(t *testing.T) {
	proxy := func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusTooManyRequests) }
	for name, refuses := range map[string]http.HandlerFunc{
		"too many requests": fails(reward.ErrOverloaded),
		"too many groups":   fails(reward.ErrTooManyGroups),
		"a proxy's limit":   proxy,
	} {
		t.Run(name, func(t *testing.T) {
			clock := newClock()
			scripts, c := three(t, clock)
			q := rollout(1)
			q.Groups = step(1)
			q.Advantage = &reward.Advantage{Method: reward.AdvantageFlowGRPO}
			mustScore(t, c, q)
			want := counts(scripts)
			first := slices.Index(want[:], 1)
			want[first] = 3
			scripts[first].steps = []http.HandlerFunc{refuses}
			mustScore(t, c, q)
			if counts(scripts) != want || !slices.Equal(clock.pauses, []time.Duration{100 * ms}) {
				t.Errorf("requests went %v with pauses %v, want %v", counts(scripts), clock.pauses, want)
			}
		})
	}
}
