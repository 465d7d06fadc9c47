package server_test

import (
	"bytes"
	"context"
	"math"
	"testing"

	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/wire"
)

// groupsOf are two groups of a rollout of seven, whose sample 3 fails.
var groupsOf = [][]int{{0, 2, 4}, {1, 5, 6}}

// withGroups asks for the advantages of a rollout of seven in two groups, with
// an image that cannot be decoded.
func withGroups(a reward.Advantage) *wire.Request {
	q := rollout(7, 64, 32)
	q.Mode = reward.ModeThink
	q.Groups.Names = []string{"g", "h", "g", "g", "g", "h", "h"}
	q.Images[3] = wire.Image{Encoded: []byte("GIF89a")}
	q.Grid = reward.GridSpec{Height: 4, Width: 8}
	q.Advantage = &a
	q.Return = []wire.Return{wire.ReturnDense, wire.ReturnBoxes}
	return q
}

// normalised is (v-mean)/max(std+epsilon, floor) over the group, by the book.
func normalised(values []float64, sampleStd bool, epsilon, floor float64) []float64 {
	n := float64(len(values))
	var mean, squares float64
	for _, v := range values {
		mean += v / n
	}
	for _, v := range values {
		squares += (v - mean) * (v - mean)
	}
	if sampleStd {
		n--
	}
	sigma := math.Max(math.Sqrt(squares/n)+epsilon, floor)
	result := make([]float64, len(values))
	for i, v := range values {
		result[i] = (v - mean) / sigma
	}
	return result
}

func pickValues(values []float64, members []int) []float64 {
	var some []float64
	for _, i := range members {
		some = append(some, values[i])
	}
	return some
}

// mapTolerance is float32's: maps travel as float32, and their statistics are
// taken over float32 rewards.
const mapTolerance = 2e-4

func TestFlowGRPOIsScalarPerGroup(t *testing.T) {
	c, _ := serveOver(t, &rewardtest.Fake{}, nil)
	p := mustScore(t, c, withGroups(reward.Advantage{Method: reward.AdvantageFlowGRPO}))
	got, err := p.Advantages.Float64s()
	if err != nil || len(p.Advantages.Shape) != 1 {
		t.Fatalf("advantages of shape %v, %v", p.Advantages.Shape, err)
	}
	for _, members := range groupsOf {
		for k, want := range normalised(pickValues(p.Rewards, members), false, 1e-4, 0) {
			if math.Abs(got[members[k]]-want) > 1e-12 {
				t.Errorf("sample %d: %v, want %v", members[k], got[members[k]], want)
			}
		}
	}
	if !math.IsNaN(got[3]) {
		t.Errorf("the failed sample has advantage %v", got[3])
	}
}

func TestAGlobalStandardDeviationIsThatOfTheRequest(t *testing.T) {
	c, _ := serveOver(t, &rewardtest.Fake{}, nil)
	p := mustScore(t, c, withGroups(reward.Advantage{Method: reward.AdvantageFlowGRPO, GlobalStd: true}))
	got, _ := p.Advantages.Float64s()
	var mean, squares float64
	for i, r := range p.Rewards {
		if i != 3 {
			mean += r / 6
		}
	}
	for i, r := range p.Rewards {
		if i != 3 {
			squares += (r - mean) * (r - mean)
		}
	}
	sigma := math.Sqrt(squares/6) + 1e-4
	for _, members := range groupsOf {
		var own float64
		for _, i := range members {
			own += p.Rewards[i] / 3
		}
		for _, i := range members {
			if want := (p.Rewards[i] - own) / sigma; math.Abs(got[i]-want) > 1e-12 {
				t.Errorf("sample %d: %v, want %v", i, got[i], want)
			}
		}
	}
}

func TestDenseFlowMultipliesTheWeightIn(t *testing.T) {
	c, _ := serveOver(t, &rewardtest.Fake{}, nil)
	scalar := mustScore(t, c, withGroups(reward.Advantage{Method: reward.AdvantageFlowGRPO}))
	a, _ := scalar.Advantages.Float64s()
	p := mustScore(t, c, withGroups(reward.Advantage{Method: reward.AdvantageDenseFlow}))
	got, _ := p.Advantages.Float64s()
	weight, _ := p.Dense.Weight.Float64s()
	for i := range got {
		want := a[i/32] * weight[i]
		if math.IsNaN(got[i]) != (i/32 == 3) || math.Abs(got[i]-want) > 1e-6 {
			t.Fatalf("sample %d, cell %d: %v, want %v", i/32, i%32, got[i], want)
		}
	}
}

// checkPerLocation compares advantages with dense rewards normalised at each
// location by itself.
func checkPerLocation(t *testing.T, p *wire.Response, sampleStd bool, epsilon, floor float64) {
	t.Helper()
	got, err := p.Advantages.Float64s()
	if err != nil {
		t.Fatal(err)
	}
	rewards, _ := p.Dense.Reward.Float64s()
	for _, members := range groupsOf {
		for cell := range 32 {
			var values []float64
			for _, i := range members {
				values = append(values, rewards[i*32+cell])
			}
			for k, want := range normalised(values, sampleStd, epsilon, floor) {
				if v := got[members[k]*32+cell]; math.Abs(v-want) > mapTolerance {
					t.Fatalf("sample %d, cell %d: %v, want %v", members[k], cell, v, want)
				}
			}
		}
	}
	if !math.IsNaN(got[3*32]) {
		t.Error("the failed sample has advantages")
	}
}

func TestDenseFlowOfThePaperNormalisesPerLocation(t *testing.T) {
	c, _ := serveOver(t, &rewardtest.Fake{}, nil)
	checkPerLocation(t, mustScore(t, c, withGroups(reward.Advantage{Method: reward.AdvantageDenseFlowPaper})), false, 1e-4, 0)
	floor := 0.3
	checkPerLocation(t, mustScore(t, c, withGroups(reward.Advantage{Method: reward.AdvantageDenseFlowPaper, Floor: &floor})), false, 1e-4, 0.3)
}

func TestBoxFlowTakesItsRewardsFromBoxes(t *testing.T) {
	c, _ := serveOver(t, &rewardtest.Fake{}, nil)
	for name, a := range map[string]reward.Advantage{
		"by default":         {Method: reward.AdvantageBoxFlow},
		"with its own terms": {Method: reward.AdvantageBoxFlow, Penalty: &reward.Penalty{Artifact: 2, Misalignment: 1, Min: 0.125}, Floor: new(float64)},
	} {
		t.Run(name, func(t *testing.T) {
			p := mustScore(t, c, withGroups(a))
			penalty, floor := reward.DefaultPenalty(), 0.1
			if a.Penalty != nil {
				penalty, floor = *a.Penalty, 0
			}
			rewards, _ := p.Dense.Reward.Float64s()
			for _, members := range groupsOf {
				std := sampleStd(pickValues(p.Rewards, members))
				for _, i := range members {
					for cell := range 32 {
						want := p.Rewards[i] - boxCost(p.Boxes[i], cell/8, cell%8, std, penalty)
						if got := rewards[i*32+cell]; math.Abs(got-want) > 1e-6 {
							t.Fatalf("sample %d, cell %d: reward %v, want %v", i, cell, got, want)
						}
					}
				}
			}
			checkPerLocation(t, p, true, 0, floor)
		})
	}
}

func sampleStd(values []float64) float64 {
	var mean, squares float64
	for _, v := range values {
		mean += v / float64(len(values))
	}
	for _, v := range values {
		squares += (v - mean) * (v - mean)
	}
	return math.Sqrt(squares / float64(len(values)-1))
}

// boxCost is what boxes take from the reward of a cell of a 4x8 grid.
func boxCost(boxes []reward.Box, y, x int, std float64, p reward.Penalty) float64 {
	most := map[string]float64{}
	for _, b := range boxes {
		in := x >= int(b.Coords[0]*8/1000) && x < int(b.Coords[2]*8/1000) && y >= int(b.Coords[1]*4/1000) && y < int(b.Coords[3]*4/1000)
		if in {
			most[b.Label] = max(most[b.Label], b.Importance/100)
		}
	}
	var cost float64
	for label, c := range map[string]float64{"artifact": p.Artifact, "misalignment": p.Misalignment} {
		if w := most[label]; w > 0 {
			cost += math.Max(math.Max(c*std, p.Min)*w, p.Min)
		}
	}
	return cost
}

func TestMapsAreSmoothedAfterTheyWereNormalised(t *testing.T) {
	c, _ := serveOver(t, &rewardtest.Fake{}, nil)
	rough, _ := mustScore(t, c, withGroups(reward.Advantage{Method: reward.AdvantageDenseFlowPaper})).Advantages.Float32s()
	p := mustScore(t, c, withGroups(reward.Advantage{Method: reward.AdvantageDenseFlowPaper, Smoothing: 3}))
	got, _ := p.Advantages.Float32s()
	dense.SmoothMaps(rough, 4, 8, 3)
	for i := range got {
		if got[i] != rough[i] && i/32 != 3 {
			t.Fatalf("sample %d, cell %d: %v, want %v", i/32, i%32, got[i], rough[i])
		}
	}
	q := withGroups(reward.Advantage{Method: reward.AdvantageDenseFlowPaper, Smoothing: 8})
	mustFail(t, c, q, reward.ErrInvalidValue) // four rows are too few
}

func TestAGroupOfOneHasAdvantageZero(t *testing.T) {
	c, _ := serveOver(t, &rewardtest.Fake{}, nil)
	for _, method := range []reward.AdvantageMethod{
		reward.AdvantageFlowGRPO, reward.AdvantageDenseFlow, reward.AdvantageDenseFlowPaper, reward.AdvantageBoxFlow,
	} {
		q := rollout(2, 64, 32)
		q.Groups.Names = []string{"g", "h"}
		q.Advantage = &reward.Advantage{Method: method}
		got, err := mustScore(t, c, q).Advantages.Float64s()
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range got {
			if v != 0 {
				t.Fatalf("%s: %v at %d", method, v, i)
			}
		}
	}
}

func TestAGroupThatFailedAltogetherHasNoAdvantages(t *testing.T) {
	c, _ := serveOver(t, &rewardtest.Fake{}, nil)
	for _, method := range []reward.AdvantageMethod{reward.AdvantageFlowGRPO, reward.AdvantageBoxFlow} {
		q := rollout(2, 64, 32)
		q.Images[0] = wire.Image{Encoded: []byte("GIF89a")}
		q.Images[1] = q.Images[0]
		q.Advantage = &reward.Advantage{Method: method}
		got, err := mustScore(t, c, q).Advantages.Float64s()
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range got {
			if !math.IsNaN(v) {
				t.Errorf("%s: advantage %v", method, v)
			}
		}
	}
}

// trembling is an evaluator whose maps' last bits differ from batch to batch.
type trembling struct{ *rewardtest.Fake }

func (e trembling) Evaluate(ctx context.Context, samples []reward.Sample) ([]reward.Result, error) {
	results, err := e.Fake.Evaluate(ctx, samples)
	for i := range results {
		for _, m := range results[i].Maps {
			for k, v := range m.Data {
				m.Data[k] = v * (1 - float32(e.Batches())*1e-6)
			}
		}
	}
	return results, err
}

// A request that comes again and is evaluated anew is answered with the advantages of
// its first try.
func TestAMemberThatIsEvaluatedAnewIsTheSame(t *testing.T) {
	cfg := batch.DefaultConfig()
	cfg.CacheBytes = 0
	scheduler, err := batch.New(cfg, trembling{&rewardtest.Fake{}})
	if err != nil {
		t.Fatal(err)
	}
	c, _ := serveOver(t, &rewardtest.Fake{}, func(cfg *server.Config) { cfg.Models[0].Scorer = scheduler })
	ask := func() *wire.Request {
		q := rollout(2, 64, 32)
		q.Advantage = &reward.Advantage{Method: reward.AdvantageDenseFlowPaper}
		q.Groups = reward.Groups{Step: "1", Size: 2, Members: []int{0, 1}}
		return q
	}
	first, again := mustScore(t, c, ask()), mustScore(t, c, ask())
	if bytes.Equal(first.Dense.Reward.Data, again.Dense.Reward.Data) {
		t.Fatal("it was not evaluated anew")
	}
	if !bytes.Equal(first.Advantages.Data, again.Advantages.Data) {
		t.Error("its advantages are others")
	}
	other := ask()
	other.Images[1] = rollout(3, 64, 32).Images[2]
	mustFail(t, c, other, reward.ErrGroupConflict)
}
