package advantages_test

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/advantages"
)

// Three images of one prompt, one of which could not be scored.
func ExampleRule_Shares() {
	rule := advantages.Rule{Method: reward.AdvantageFlowGRPO}
	shares, err := rule.Shares([]advantages.Member{
		{Group: "a red cube", Reward: 0.25},
		{Group: "a red cube", Failed: true},
		{Group: "a red cube", Reward: 0.75},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range shares {
		fmt.Printf("%.3f\n", s.Advantage)
	}
	// Output:
	// -1.000
	// NaN
	// 1.000
}

func TestGroupsAreComparedWithinThemselves(t *testing.T) {
	grid := dense.Grid{Height: 1, Width: 2}
	members := []advantages.Member{
		{Group: "a", Reward: 1, Weight: []float32{1, 0}}, {Group: "b", Reward: 5, Weight: []float32{1, 1}},
		{Group: "a", Reward: 3, Weight: []float32{1, 0}}, {Group: "b", Failed: true},
	}
	for _, tt := range []struct {
		name string
		rule advantages.Rule
		want []float64 // of the scalar, or of the first location
	}{
		{"one number a sample", advantages.Rule{Method: reward.AdvantageFlowGRPO}, []float64{-1, 0, 1, math.NaN()}},
		{"one a location", advantages.Rule{Method: reward.AdvantageDenseFlowPaper, Grid: grid}, []float64{-1, 0, 1, math.NaN()}},
	} {
		shares, err := tt.rule.Shares(members)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range tt.want {
			got := shares[i].Advantage
			if shares[i].Maps != nil {
				got = float64(shares[i].Maps[0])
			}
			if !(math.Abs(got-want) < 1e-3) && !(math.IsNaN(got) && math.IsNaN(want)) {
				t.Errorf("%s: member %d: %v, want %v", tt.name, i, got, want)
			}
		}
	}
}

func TestScoreWeightsOfOneStepMustAgree(t *testing.T) {
	member := func(weight float64) advantages.Member {
		return advantages.Member{Group: "a", Scores: []float64{1}, ScoreWeights: []float64{weight}}
	}
	_, err := advantages.Rule{Method: reward.AdvantageGDPO}.Shares([]advantages.Member{member(1), member(2)})
	if !errors.Is(err, reward.ErrGroupConflict) {
		t.Errorf("got %v", err)
	}
}
