package groups

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/advantages"
)

// flow is the rule of scalar advantages.
var flow = advantages.Rule{Method: reward.AdvantageFlowGRPO}

// scored are members of group "g" with rewards.
func scored(rewards ...float64) []advantages.Member {
	members := make([]advantages.Member, len(rewards))
	for i, r := range rewards {
		members[i] = advantages.Member{Group: "g", Reward: r}
	}
	return members
}

// answer is what a call of Gather gave.
type answer struct {
	shares []advantages.Share
	err    error
}

// later calls Gather in the background.
func later(ctx context.Context, b *Barrier, groups reward.Groups, u advantages.Rule, members []advantages.Member) <-chan answer {
	given := make(chan answer, 1)
	go func() {
		shares, err := b.For("").Gather(ctx, &groups, u, members)
		given <- answer{shares, err}
	}()
	synctest.Wait()
	return given
}

func waiting(given <-chan answer) bool { return len(given) == 0 }

// checkEmpty fails if the barrier still holds anything once all is over.
func checkEmpty(t *testing.T, b *Barrier) {
	t.Helper()
	time.Sleep(2 * b.cfg.Linger)
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.groups) != 0 || b.bytes != 0 {
		t.Errorf("%d groups and %d bytes are left", len(b.groups), b.bytes)
	}
}

func checkShares(t *testing.T, given <-chan answer, want ...float64) {
	t.Helper()
	a := <-given
	if a.err != nil {
		t.Fatal(a.err)
	}
	for i, s := range a.shares {
		if math.Abs(s.Advantage-want[i]) > 1e-3 {
			t.Errorf("member %d: %v, want %v", i, s.Advantage, want[i])
		}
	}
}

func TestRequestsAreAnsweredWhenTheirGroupIsComplete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(DefaultConfig())
		groups := reward.Groups{Step: "1", Size: 4}
		first := later(t.Context(), b, groups, flow, scored(1))
		second := later(t.Context(), b, groups, flow, scored(2, 3))
		if !waiting(first) || !waiting(second) {
			t.Fatal("answered before the group was complete")
		}
		other := later(t.Context(), b, reward.Groups{Step: "2", Size: 1}, flow, scored(7))
		third := later(t.Context(), b, groups, flow, scored(4))
		checkShares(t, other, 0)
		checkShares(t, first, -1.3416)
		checkShares(t, second, -0.4472, 0.4472)
		checkShares(t, third, 1.3416)
		checkEmpty(t, b)
	})
}

func TestAMissingMemberIsNamedAtTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(DefaultConfig())
		start := time.Now()
		given := later(t.Context(), b, reward.Groups{Step: "1", Size: 5, Members: []int{0, 3}}, flow, scored(1, 2))
		a := <-given
		if waited := time.Since(start); waited != b.cfg.Timeout {
			t.Errorf("waited %v, want %v", waited, b.cfg.Timeout)
		}
		want := `groups: 2 of 5 members came; group "g" misses members 1, 2, 4`
		if !errors.Is(a.err, reward.ErrGroupIncomplete) || reward.AsError(a.err, reward.ErrInternal).Message() != want {
			t.Errorf("got %v, want %s", a.err, want)
		}
		checkEmpty(t, b)
	})
}

func TestTheListOfMissingMembersIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(DefaultConfig())
		u := advantages.Rule{Method: reward.AdvantageFlowGRPO, GlobalStd: true}
		members := append(scored(1), advantages.Member{Group: "h", Reward: 1})
		named := <-later(t.Context(), b, reward.Groups{Step: "1", Size: 30, Count: 9, Members: []int{0, 0}}, u, members)
		for _, part := range []string{"2 of 270 members came", "7 of 9 groups are missing altogether", "28, 29;", `"h" misses members 1, 2, 3 and 26 more`} {
			if !strings.Contains(named.err.Error(), part) {
				t.Errorf("%v: want %q in it", named.err, part)
			}
		}
		counted := <-later(t.Context(), b, reward.Groups{Step: "2", Size: 30}, flow, scored(1, 2))
		if want := `group "g" misses 28 members`; !strings.Contains(counted.err.Error(), want) {
			t.Errorf("%v: want %q in it", counted.err, want)
		}
		checkEmpty(t, b)
	})
}

func TestARequestWaitsNoLongerThanItsOwnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(DefaultConfig())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		groups := reward.Groups{Step: "1", Size: 2, Members: []int{0}}
		a := <-later(ctx, b, groups, flow, scored(1))
		if !errors.Is(a.err, reward.ErrGroupIncomplete) || !strings.Contains(a.err.Error(), "misses members 1") {
			t.Errorf("got %v", a.err)
		}
		checkEmpty(t, b)
	})
}

func TestAClientThatLeavesTakesItsSamplesWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(DefaultConfig())
		groups := reward.Groups{Step: "1", Size: 4}
		ctx, leave := context.WithCancel(t.Context())
		gone := later(ctx, b, groups, flow, scored(100, 200))
		stays := later(t.Context(), b, groups, flow, scored(1))
		leave()
		if a := <-gone; !errors.Is(a.err, reward.ErrCanceled) {
			t.Errorf("got %v", a.err)
		}
		back := later(t.Context(), b, groups, flow, scored(2, 3, 4))
		checkShares(t, stays, -1.3416)
		checkShares(t, back, -0.4472, 0.4472, 1.3416)
		checkEmpty(t, b)
	})
}

func TestARepeatedRequestTakesItsOwnPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(DefaultConfig())
		at := func(members ...int) reward.Groups { return reward.Groups{Step: "1", Size: 2, Members: members} }
		ctx, leave := context.WithCancel(t.Context())
		first := later(ctx, b, at(0), flow, scored(1))
		again := later(t.Context(), b, at(0), flow, scored(1)) // before the first is known to be gone
		leave()
		if a := <-first; !errors.Is(a.err, reward.ErrCanceled) {
			t.Errorf("got %v", a.err)
		}
		other := later(t.Context(), b, at(1), flow, scored(3))
		checkShares(t, again, -1)
		checkShares(t, other, 1)
		checkShares(t, later(t.Context(), b, at(1), flow, scored(3)), 1) // its answer got lost
		another := scored(3)
		another[0].Input[0] = 1
		if a := <-later(t.Context(), b, at(1), flow, another); !errors.Is(a.err, reward.ErrGroupConflict) {
			t.Errorf("another sample for a member: got %v", a.err)
		}
		checkEmpty(t, b)
	})
}

// A sample that is evaluated anew may bring other last bits: its input is compared, before
// and after the group is complete.
func TestAMemberThatComesAgainMustBeTheSameSample(t *testing.T) {
	rule := advantages.Rule{Method: reward.AdvantageDenseFlowPaper, Grid: dense.Grid{Height: 1, Width: 1}}
	at := func(member int) reward.Groups { return reward.Groups{Step: "1", Size: 2, Members: []int{member}} }
	bring := func(input byte, weight float32) []advantages.Member {
		return []advantages.Member{{Group: "g", Input: [32]byte{input}, Reward: 1, Weight: []float32{weight}}}
	}
	synctest.Test(t, func(t *testing.T) {
		b := New(DefaultConfig())
		first := later(t.Context(), b, at(0), rule, bring(1, 0.5))
		again := later(t.Context(), b, at(0), rule, bring(1, math.Nextafter32(0.5, 1)))
		if a := <-later(t.Context(), b, at(0), rule, bring(2, 0.5)); !errors.Is(a.err, reward.ErrGroupConflict) {
			t.Errorf("another sample that brings the same: %v", a.err)
		}
		other := <-later(t.Context(), b, at(1), rule, bring(3, 0.25))
		want := <-first
		if want.err != nil || other.err != nil || want.shares[0].Maps[0] <= 0 {
			t.Fatal(want, other)
		}
		for _, a := range []answer{<-again, <-later(t.Context(), b, at(0), rule, bring(1, 0.75))} {
			if a.err != nil || !slices.Equal(a.shares[0].Maps, want.shares[0].Maps) {
				t.Errorf("the same sample again: got %+v, want %+v", a, want)
			}
		}
		if a := <-later(t.Context(), b, at(0), rule, bring(2, 0.5)); !errors.Is(a.err, reward.ErrGroupConflict) {
			t.Errorf("another sample after the group was complete: %v", a.err)
		}
		checkEmpty(t, b)
	})
}

func TestAMemberThatFailedMayComeAgainUntilItsGroupIsComplete(t *testing.T) {
	at := func(member int) reward.Groups { return reward.Groups{Step: "1", Size: 2, Members: []int{member}} }
	failed := []advantages.Member{{Group: "g", Failed: true, Reward: math.NaN()}}
	synctest.Test(t, func(t *testing.T) {
		b := New(DefaultConfig())
		first := later(t.Context(), b, at(0), flow, failed)
		again := later(t.Context(), b, at(0), flow, scored(3))
		checkShares(t, later(t.Context(), b, at(1), flow, scored(1)), -1)
		checkShares(t, first, 1) // which its request does not use
		checkShares(t, again, 1)
		checkShares(t, later(t.Context(), b, at(0), flow, failed), 1)
		checkEmpty(t, b)
	})
	synctest.Test(t, func(t *testing.T) {
		b := New(DefaultConfig())
		first := later(t.Context(), b, at(0), flow, failed)
		checkShares(t, later(t.Context(), b, at(1), flow, scored(1)), 0)
		if a := <-first; a.err != nil || !math.IsNaN(a.shares[0].Advantage) {
			t.Errorf("got %+v", a)
		}
		if a := <-later(t.Context(), b, at(0), flow, scored(3)); !errors.Is(a.err, reward.ErrGroupConflict) {
			t.Errorf("scored after the group was complete without it: %+v", a)
		}
		checkEmpty(t, b)
	})
}

func TestGDPOWaitsForAllGroupsOfItsStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, u := New(DefaultConfig()), advantages.Rule{Method: reward.AdvantageGDPO}
		member := func(group string, score float64) []advantages.Member {
			return []advantages.Member{{Group: group, Reward: score, Scores: []float64{score}, ScoreWeights: []float64{1}}}
		}
		var answers []<-chan answer
		for _, group := range []string{"g", "h"} {
			for number, score := range []float64{0, 1} {
				at := reward.Groups{Step: "1", Size: 2, Count: 2, Members: []int{number}}
				answers = append(answers, later(t.Context(), b, at, u, member(group, score)))
			}
		}
		// Each score is -+1/sqrt(2) in its group, by the sample's deviation; over
		// the four their deviation is sqrt(2/3).
		for i, want := range []float64{-0.8660, 0.8660, -0.8660, 0.8660} {
			checkShares(t, answers[i], want)
		}
		checkEmpty(t, b)
	})
}

func TestRequestsOfAGroupMustAgree(t *testing.T) {
	dense1 := advantages.Rule{Method: reward.AdvantageDenseFlowPaper, Grid: dense.Grid{Height: 1, Width: 1}}
	for name, c := range map[string]struct {
		groups  reward.Groups
		rule    advantages.Rule
		rewards []float64
	}{
		"about its size":          {reward.Groups{Step: "1", Size: 4, Members: []int{1}}, flow, []float64{1}},
		"about the method":        {reward.Groups{Step: "1", Size: 3, Members: []int{1}}, dense1, []float64{1}},
		"about the options":       {reward.Groups{Step: "1", Size: 3, Members: []int{1}}, advantages.Rule{Method: flow.Method, Floor: 1}, []float64{1}},
		"about numbering members": {reward.Groups{Step: "1", Size: 3}, flow, []float64{1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := New(DefaultConfig())
				first := later(t.Context(), b, reward.Groups{Step: "1", Size: 3, Members: []int{0}}, flow, scored(1))
				if a := <-later(t.Context(), b, c.groups, c.rule, scored(c.rewards...)); !errors.Is(a.err, reward.ErrGroupConflict) {
					t.Errorf("got %v", a.err)
				}
				rest := later(t.Context(), b, reward.Groups{Step: "1", Size: 3, Members: []int{1, 2}}, flow, scored(2, 3))
				checkShares(t, first, -1.2247)
				checkShares(t, rest, 0, 1.2247)
				checkEmpty(t, b)
			})
		})
	}
}

func TestAGroupTakesNoMoreThanItsSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(DefaultConfig())
		if a := <-later(t.Context(), b, reward.Groups{Step: "1", Size: 2}, flow, scored(1, 2, 3)); !errors.Is(a.err, reward.ErrGroupConflict) {
			t.Errorf("got %v", a.err)
		}
		checkEmpty(t, b)
	})
}

func TestOpenGroupsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := DefaultConfig()
		cfg.Groups = 2
		b := New(cfg)
		open := func(step string) <-chan answer {
			return later(t.Context(), b, reward.Groups{Step: step, Size: 2, Members: []int{0}}, flow, scored(1))
		}
		one, two := open("1"), open("2")
		if a := <-open("3"); !errors.Is(a.err, reward.ErrTooManyGroups) {
			t.Errorf("a third Group: got %v", a.err)
		}
		<-later(t.Context(), b, reward.Groups{Step: "1", Size: 2, Members: []int{1}}, flow, scored(2))
		<-one
		three := open("3") // the complete one makes room
		if !waiting(three) {
			t.Errorf("got %v", (<-three).err)
		}
		<-two
		<-three
		checkEmpty(t, b)
	})
}

func TestTheMapsOfWaitingMembersAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := DefaultConfig()
		cfg.Bytes = 100 << 10
		b := New(cfg)
		u := advantages.Rule{Method: reward.AdvantageDenseFlowPaper, Grid: dense.Grid{Height: 64, Width: 64}}
		maps := make([]float32, 64*64)
		open := func(step string, size int) <-chan answer {
			return later(t.Context(), b, reward.Groups{Step: step, Size: size}, u, []advantages.Member{{Group: "g", Reward: 1, Weight: maps}})
		}
		one := open("1", 2)
		two := open("2", 2)
		if a := <-open("3", 2); !errors.Is(a.err, reward.ErrTooManyGroups) {
			t.Errorf("a third map: got %v", a.err)
		}
		if !waiting(one) || !waiting(two) {
			t.Error("those that were there were turned away")
		}
		<-one
		<-two
		checkEmpty(t, b)
	})
}

func TestAGlobalStandardDeviationWaitsForTheStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(DefaultConfig())
		u := advantages.Rule{Method: reward.AdvantageFlowGRPO, GlobalStd: true}
		groups := reward.Groups{Step: "1", Size: 2, Count: 2}
		first := later(t.Context(), b, groups, u, scored(1, 3))
		if !waiting(first) {
			t.Fatal("answered when its own group was complete")
		}
		third := advantages.Member{Group: "k", Reward: 1}
		second := later(t.Context(), b, groups, u, []advantages.Member{{Group: "h", Reward: 10}})
		if a := <-later(t.Context(), b, groups, u, []advantages.Member{third}); !errors.Is(a.err, reward.ErrGroupConflict) {
			t.Errorf("a third Group: got %v", a.err)
		}
		last := later(t.Context(), b, groups, u, []advantages.Member{{Group: "h", Reward: 12}})
		sigma := math.Sqrt((5.5*5.5+3.5*3.5+3.5*3.5+5.5*5.5)/4) + 1e-4
		checkShares(t, first, -1/sigma, 1/sigma)
		checkShares(t, second, -1/sigma)
		checkShares(t, last, 1/sigma)
		checkEmpty(t, b)
	})
}

func TestAFailedMemberTakesItsPlaceAndNoPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(DefaultConfig())
		groups := reward.Groups{Step: "1", Size: 3}
		first := later(t.Context(), b, groups, flow, scored(1, 3))
		failed := <-later(t.Context(), b, groups, flow, []advantages.Member{{Group: "g", Failed: true, Reward: math.NaN()}})
		checkShares(t, first, -1, 1)
		if failed.err != nil || !math.IsNaN(failed.shares[0].Advantage) {
			t.Errorf("got %v, %v", failed.shares, failed.err)
		}
		checkEmpty(t, b)
	})
}

func TestManyRanksShareManyGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(DefaultConfig())
		const ranks, prompts = 16, 8
		var callers sync.WaitGroup
		for rank := range ranks {
			callers.Go(func() {
				var members []advantages.Member
				var places []int
				for p := range prompts {
					members = append(members, advantages.Member{Group: fmt.Sprint(p), Reward: float64((rank*7 + p) % ranks)})
					places = append(places, rank)
				}
				shares, err := b.For("").Gather(t.Context(), &reward.Groups{Step: "1", Size: ranks, Members: places}, flow, members)
				if err != nil {
					t.Error(err)
					return
				}
				for p, s := range shares {
					// Each group holds the rewards 0 to 15.
					if want := (members[p].Reward - 7.5) / (math.Sqrt(255.0/12) + 1e-4); math.Abs(s.Advantage-want) > 1e-12 {
						t.Errorf("rank %d, prompt %d: %v, want %v", rank, p, s.Advantage, want)
					}
				}
			})
		}
		callers.Wait()
		checkEmpty(t, b)
	})
}
