package client_test

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/wire"
)

// three are servers with a script each, and a client of all.
func three(t *testing.T, clock *clock, opts ...client.Option) ([]*script, *client.Client) {
	t.Helper()
	var scripts []*script
	var addresses []string
	for range 3 {
		s := &script{next: newServer(t, &rewardtest.Fake{})}
		scripts, addresses = append(scripts, s), append(addresses, listen(t, s))
	}
	opts = append(opts, client.WithServers(addresses[1:]...), clock.option())
	return scripts, newClient(t, addresses[0], opts...)
}

func counts(scripts []*script) (n [3]int) {
	for i, s := range scripts {
		n[i] = s.requests()
	}
	return n
}

func mustScore(t *testing.T, c *client.Client, q *wire.Request) *wire.Response {
	t.Helper()
	p, err := c.Score(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestServersTakeTurns(t *testing.T) {
	scripts, c := three(t, newClock())
	for range 6 {
		mustScore(t, c, rollout(1))
	}
	if counts(scripts) != [3]int{2, 2, 2} {
		t.Errorf("requests went %v", counts(scripts))
	}
}

func TestARequestGoesToTheNextServerWithoutAPause(t *testing.T) {
	clock := newClock()
	scripts, c := three(t, clock)
	scripts[0].steps = []http.HandlerFunc{breaks}
	scripts[1].steps = []http.HandlerFunc{fails(reward.ErrOverloaded, "Retry-After", "60")}
	mustScore(t, c, rollout(1))
	if counts(scripts) != [3]int{1, 1, 1} || len(clock.pauses) != 0 {
		t.Errorf("requests went %v with pauses %v", counts(scripts), clock.pauses)
	}
	// Those that failed rest, the one for its Retry-After.
	mustScore(t, c, rollout(1))
	mustScore(t, c, rollout(1))
	if counts(scripts) != [3]int{1, 1, 3} {
		t.Errorf("requests went %v while two servers rested", counts(scripts))
	}
	clock.at = clock.at.Add(time.Minute)
	for range 3 {
		mustScore(t, c, rollout(1))
	}
	if counts(scripts) != [3]int{2, 2, 4} {
		t.Errorf("requests went %v after the rest", counts(scripts))
	}
}

func TestAllServersAreTriedBeforeAPause(t *testing.T) {
	clock := newClock()
	scripts, c := three(t, clock, client.WithTries(2))
	for _, s := range scripts {
		s.next = fails(reward.ErrNotReady)
	}
	_, err := c.Score(t.Context(), rollout(1))
	if !errors.Is(err, reward.ErrNotReady) || counts(scripts) != [3]int{2, 2, 2} || len(clock.pauses) != 1 {
		t.Errorf("%v: requests went %v with pauses %v", err, counts(scripts), clock.pauses)
	}
}

func TestRequestsOfAStepMeetOnOneServer(t *testing.T) {
	used := map[[3]int]bool{}
	for step := range 12 {
		scripts, c := three(t, newClock())
		for range 2 { // the second as if it came again
			q := rollout(1)
			q.Groups = reward.Groups{Step: fmt.Sprint("step ", step), Size: 1, Members: []int{0}}
			q.Advantage = &reward.Advantage{Method: reward.AdvantageFlowGRPO}
			mustScore(t, c, q)
		}
		n := counts(scripts)
		if n[0]+n[1]+n[2] != 2 || n[0] == 1 || n[1] == 1 {
			t.Errorf("step %d: requests went %v", step, n)
		}
		used[n] = true
	}
	if len(used) < 2 {
		t.Error("every step went to the same server")
	}
}

// Else the members of a group would be parted.
func TestRequestsOfAStepWaitForAFullServerAndLeaveALostOne(t *testing.T) {
	request := func() *wire.Request { // the same, as if it came again
		q := rollout(1)
		q.Groups = reward.Groups{Step: "step", Size: 1, Members: []int{0}}
		q.Advantage = &reward.Advantage{Method: reward.AdvantageFlowGRPO}
		return q
	}
	clock := newClock()
	scripts, c := three(t, clock)
	mustScore(t, c, request())
	found := counts(scripts)
	first := slices.Index(found[:], 1)
	want := [3]int{}

	scripts[first].steps = []http.HandlerFunc{fails(reward.ErrOverloaded, "Retry-After", "7")}
	mustScore(t, c, request())
	want[first] = 3
	if counts(scripts) != want || len(clock.pauses) != 1 || clock.pauses[0] < 7*time.Second {
		t.Errorf("with a full queue: requests went %v with pauses %v, want %v", counts(scripts), clock.pauses, want)
	}

	clock.pauses = nil
	scripts[first].steps = []http.HandlerFunc{breaks}
	mustScore(t, c, request())
	mustScore(t, c, request())
	n := counts(scripts)
	if n[first] != 4 || slices.Max(slices.Delete(n[:], first, first+1)) != 2 || len(clock.pauses) != 0 {
		t.Errorf("with a lost server: requests went %v with pauses %v; the server was %d", counts(scripts), clock.pauses, first)
	}
}

func TestARequestOfAStepLeavesAServerAloneThatIsKnownToBeFull(t *testing.T) {
	clock := newClock()
	s := &script{next: newServer(t, &rewardtest.Fake{}), steps: []http.HandlerFunc{fails(reward.ErrOverloaded, "Retry-After", "7")}}
	c := newClient(t, listen(t, s), clock.option(), client.WithTries(1))
	if _, err := c.Score(t.Context(), rollout(1)); !errors.Is(err, reward.ErrOverloaded) {
		t.Fatal(err)
	}
	q := rollout(1)
	q.Groups = reward.Groups{Step: "step", Size: 1, Members: []int{0}}
	q.Advantage = &reward.Advantage{Method: reward.AdvantageFlowGRPO}
	mustScore(t, c, q)
	if len(clock.pauses) != 1 || clock.pauses[0] < 7*time.Second || s.requests() != 2 {
		t.Errorf("%d requests with pauses %v", s.requests(), clock.pauses)
	}
}

func TestALostServerCostsNothing(t *testing.T) {
	good := listen(t, newServer(t, &rewardtest.Fake{}))
	clock := newClock()
	c := newClient(t, "http://127.0.0.1:1", client.WithServers(good), clock.option())
	for range 4 {
		mustScore(t, c, rollout(1))
	}
	if len(clock.pauses) != 0 {
		t.Errorf("paused for %v", clock.pauses)
	}
}

func TestTheGroupsOfAStepAreSpreadOverServers(t *testing.T) {
	scripts, c := three(t, newClock())
	q := rollout(60)
	q.Groups = reward.Groups{Step: "step", Size: 1, Members: make([]int, 60)}
	for i := range q.Prompts {
		q.Groups.Names = append(q.Groups.Names, fmt.Sprint("group ", i))
	}
	q.Advantage = &reward.Advantage{Method: reward.AdvantageFlowGRPO}
	q.Return = []wire.Return{wire.ReturnDense, wire.ReturnHeatmaps, wire.ReturnText, wire.ReturnBoxes}
	got := mustScore(t, c, q)
	if n := counts(scripts); slices.Min(n[:]) < 1 || slices.Max(n[:]) > 2 {
		t.Errorf("requests went %v: want the groups of each of six orders of servers in one request", n)
	}
	want := mustScore(t, newClient(t, listen(t, newServer(t, &rewardtest.Fake{}))), q)
	got.TimingMS, want.TimingMS = nil, nil
	got.Cached, want.Cached = nil, nil
	if !reflect.DeepEqual(got, want) {
		t.Error("the answer differs from that of one server")
	}
}

func TestALoadBalancerIsToldWhatBelongsTogether(t *testing.T) {
	keys := func(opts ...client.Option) (found []string) {
		s := &script{next: newServer(t, &rewardtest.Fake{})}
		q := rollout(3)
		q.Groups = reward.Groups{Step: "12", Size: 1, Names: []string{"a", "b", "c"}, Members: make([]int, 3)}
		q.Advantage = &reward.Advantage{Method: reward.AdvantageFlowGRPO}
		mustScore(t, newClient(t, listen(t, s), opts...), q)
		for _, r := range s.seen {
			found = append(found, r.Header.Get(wire.HeaderPlacement))
		}
		slices.Sort(found)
		return found
	}
	whole, apart := keys(), keys(client.WithSplitGroups())
	if len(whole) != 1 || len(apart) != 3 || len(slices.Compact(slices.Clone(apart))) != 3 || slices.Contains(apart, whole[0]) {
		t.Errorf("a step has the key %v, its groups %v", whole, apart)
	}
	if !slices.Equal(whole, keys()) || !slices.Equal(apart, keys(client.WithSplitGroups())) {
		t.Error("another client has other keys")
	}
	if want := []string{"6ed026c1db7637cc"}; !slices.Equal(whole, want) {
		t.Errorf("the key is %v; the Python client has %v", whole, want)
	}
}

// A request that met its group's server away from home looks again before it gives up.
func TestARequestThatWaitsElsewhereFindsItsServerBack(t *testing.T) {
	scripts, c := three(t, newClock())
	request := func() *wire.Request {
		q := rollout(1)
		q.Groups = reward.Groups{Step: "step", Size: 1, Members: []int{0}}
		q.Advantage = &reward.Advantage{Method: reward.AdvantageFlowGRPO}
		return q
	}
	mustScore(t, c, request())
	found := counts(scripts)
	home := slices.Index(found[:], 1)
	for i, s := range scripts {
		s.steps = []http.HandlerFunc{fails(reward.ErrGroupIncomplete)}
		if i == home {
			s.steps = []http.HandlerFunc{breaks, breaks}
		}
	}
	mustScore(t, c, request()) // by whichever is up after the other's refusal
	if n := counts(scripts); n[0]+n[1]+n[2] < 4 {
		t.Errorf("requests went %v", n)
	}
	scripts[home].steps = []http.HandlerFunc{fails(reward.ErrGroupIncomplete)}
	if _, err := newClient(t, listen(t, scripts[home])).Score(t.Context(), request()); !errors.Is(err, reward.ErrGroupIncomplete) {
		t.Errorf("at home: %v", err)
	}
}
