package groups

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/denseflow/densereward/reward"
)

func TestAnotherTokenDoesNotMeetAGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(DefaultConfig())
		groups := reward.Groups{Step: "1", Size: 2}
		results := make(chan error, 4)
		gather := func(owner string, r float64) {
			go func() {
				shares, err := b.For(owner).Gather(t.Context(), &groups, flow, scored(r))
				if err == nil && (shares[0].Advantage > 0) != (r > 0) {
					err = fmt.Errorf("%s: advantage %v for a reward of %v", owner, shares[0].Advantage, r)
				}
				results <- err
			}()
			synctest.Wait()
		}
		gather("alice", -1)
		gather("mallory", 100)
		if len(results) != 0 {
			t.Fatal("two tokens made a group")
		}
		gather("alice", 1)
		gather("mallory", -100)
		for range 4 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		checkEmpty(t, b)
	})
}

func TestOneTokenDoesNotTakeAllPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := DefaultConfig()
		cfg.Groups, cfg.OwnerGroups = 8, 4
		b := New(cfg)
		open := func(owner, step string) chan error {
			failed := make(chan error, 1)
			go func() {
				_, err := b.For(owner).Gather(t.Context(), &reward.Groups{Step: step, Size: 2}, flow, scored(1))
				failed <- err
			}()
			synctest.Wait()
			return failed
		}
		for i := range cfg.OwnerGroups {
			open("mallory", fmt.Sprint(i))
		}
		if err := <-open("mallory", "more"); !errors.Is(err, reward.ErrTooManyGroups) {
			t.Errorf("error %v, want too_many_groups", err)
		}
		if failed := open("alice", "1"); len(failed) != 0 {
			t.Errorf("the other token is refused: %v", <-failed)
		}
		time.Sleep(cfg.Timeout)
		checkEmpty(t, b)
		if len(b.owners) != 0 {
			t.Errorf("owners are left: %v", b.owners)
		}
	})
}

func TestOneTokenDoesNotTakeAllMemory(t *testing.T) {
	cfg := DefaultConfig()
	cfg.OwnerBytes = 600 // a member takes a little more than 256
	b := New(cfg)
	members := scored(1, 2, 3)
	if _, err := b.For("mallory").Gather(t.Context(), &reward.Groups{Step: "1", Size: 4}, flow, members); !errors.Is(err, reward.ErrTooManyGroups) {
		t.Errorf("error %v, want too_many_groups", err)
	}
	if b.bytes != 0 || len(b.owners) != 0 {
		t.Errorf("%d bytes and owners %v are left", b.bytes, b.owners)
	}
}

func TestOtherGroupsDoNotWaitForOneThatIsComputed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(DefaultConfig())
		large := reward.Groups{Step: "large", Size: 3}
		waits := later(t.Context(), b, large, flow, scored(1, 2))
		full, err := b.joinAll(newParticipants("", &large, flow, scored(3)))
		if err != nil || len(full) != 1 {
			t.Fatalf("%d full groups, %v", len(full), err)
		}
		// The large group is full, and its shares are not computed yet.
		small := later(t.Context(), b, reward.Groups{Step: "small", Size: 2}, flow, scored(1, 3))
		checkShares(t, small, -1, 1)
		time.Sleep(2 * b.cfg.Timeout)
		if !waiting(waits) {
			t.Errorf("a full group expired: %v", (<-waits).err)
		}
		for key, g := range full {
			b.conclude(key, g)
		}
		checkShares(t, waits, -1.2247, 0)
		checkEmpty(t, b)
	})
}
