package server_test

import (
	"math"
	"testing"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/wire"
)

// exactly compares float64 advantages with those by the book.
func exactly(t *testing.T, p *wire.Response, want []float64) {
	t.Helper()
	got, err := p.Advantages.Float64s()
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range got {
		if math.IsNaN(want[i]) != math.IsNaN(v) || math.Abs(v-want[i]) > 1e-9*math.Max(1, math.Abs(want[i])) {
			t.Errorf("sample %d: %v, want %v", i, v, want[i])
		}
	}
}

func TestGDPONormalisesEveryScoreByItself(t *testing.T) {
	c, _ := serveOver(t, &rewardtest.Fake{}, nil)
	q := withGroups(reward.Advantage{Method: reward.AdvantageGDPO})
	p := mustScore(t, c, q)
	want := make([]float64, 7)
	for i, s := range (&rewardtest.Fake{}).Describe().Scores {
		for _, members := range groupsOf {
			for k, a := range normalised(pickValues(p.Scores[i].Values, members), true, 1e-4, 0) {
				want[members[k]] += s.Weight * a
			}
		}
	}
	scored := []int{0, 1, 2, 4, 5, 6}
	for k, a := range normalised(pickValues(want, scored), true, 1e-4, 0) {
		want[scored[k]] = a
	}
	want[3] = math.NaN()
	exactly(t, p, want)

	q.Advantage.GlobalStd = true
	mustFail(t, c, q, reward.ErrInvalidValue)
}

// stepped are two samples of two steps in one group: runs of three images.
func stepped() *wire.Request {
	q := rollout(6, 64, 32)
	q.Groups.Names = []string{"g", "g", "g", "g", "g", "g"}
	q.Advantage = &reward.Advantage{Method: reward.AdvantageDenseGRPO, Steps: 2}
	return q
}

func TestDenseGRPONormalisesTheGainOfEachStep(t *testing.T) {
	c, _ := serveOver(t, &rewardtest.Fake{}, nil)
	p := mustScore(t, c, stepped())
	want := make([]float64, 6) // 0 at the beginning of a run
	for step := 1; step <= 2; step++ {
		gains := []float64{p.Rewards[step] - p.Rewards[step-1], p.Rewards[3+step] - p.Rewards[3+step-1]}
		a := normalised(gains, false, 1e-4, 0)
		want[step], want[3+step] = a[0], a[1]
	}
	exactly(t, p, want)
}

func TestDenseGRPOAfterAFailureTeachesNothing(t *testing.T) {
	c, _ := serveOver(t, &rewardtest.Fake{}, nil)
	q := stepped()
	q.Images[4] = wire.Image{Encoded: []byte("GIF89a")}
	p := mustScore(t, c, q)
	// Each step has one gain of the first sample left, which is its group's mean.
	exactly(t, p, []float64{0, 0, 0, 0, math.NaN(), 0})
}

func TestDenseGRPORefusesTornRuns(t *testing.T) {
	c, _ := serveOver(t, &rewardtest.Fake{}, nil)
	for name, tear := range map[string]func(q *wire.Request){
		"a run too short": func(q *wire.Request) { q.Advantage.Steps = 3 },
		"two groups":      func(q *wire.Request) { q.Groups.Names[2] = "h" },
		"other method":    func(q *wire.Request) { q.Advantage.Method = reward.AdvantageFlowGRPO },
	} {
		t.Run(name, func(t *testing.T) {
			q := stepped()
			tear(q)
			mustFail(t, c, q, reward.ErrInvalidValue)
		})
	}
	q := stepped()
	q.Advantage.Steps = 0
	mustFail(t, c, q, reward.ErrMissingField)
}
