package client_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/wire"
)

func TestTheBestOfEachGroupAreListed(t *testing.T) {
	address := listen(t, newServer(t, &rewardtest.Fake{Side: 8}))
	q := rollout(9)
	q.Groups.Names = []string{"b", "a", "b", "a", "b", "a", "b", "a", "failed"}
	q.Images[8] = wire.Image{Encoded: []byte("GIF89a")}
	q.Rank = true
	var first *wire.Response
	for _, size := range []int{16, 2} { // whole, and in parts that tear the groups
		best, p, err := newClient(t, address, client.WithPartSize(size)).BestOf(t.Context(), q, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(best) != 3 || len(best[0]) != 2 || len(best[1]) != 2 || len(best[2]) != 0 {
			t.Fatalf("parts of %d: %v", size, best)
		}
		for g, group := range []string{"b", "a"} {
			for place, i := range best[g] {
				if q.Groups.Names[i] != group || p.Ranks[i] != place+1 {
					t.Errorf("parts of %d: sample %d of group %s has place %d, listed at %d", size, i, q.Groups.Names[i], p.Ranks[i], place+1)
				}
			}
		}
		if p.Ranks[8] != 0 || slices.Max(p.Ranks) != 4 {
			t.Errorf("parts of %d: ranks %v", size, p.Ranks)
		}
		if first == nil {
			first = p
		}
		if !reflect.DeepEqual(p.Ranks, first.Ranks) {
			t.Errorf("parts of %d: ranks %v, in one piece %v", size, p.Ranks, first.Ranks)
		}
	}
	q.Groups = reward.Groups{Names: q.Groups.Names, Step: "s", Size: 9, Members: []int{0, 1, 2, 3, 4, 5, 6, 7, 8}}
	q.Advantage = &reward.Advantage{Method: reward.AdvantageFlowGRPO}
	if _, _, err := newClient(t, address).BestOf(t.Context(), q, 2); err == nil {
		t.Error("places within groups that span requests are not refused")
	}
}
