package wire

import (
	"errors"
	"testing"

	"github.com/denseflow/densereward/reward"
)

func TestMapsOfSeveralSizesTravel(t *testing.T) {
	maps := []*reward.Tensor{reward.Float32Tensor([]float32{1, 2}, 1, 2), reward.Float32Tensor([]float32{3}, 1, 1)}
	p := &Response{
		Rewards: []float64{1, 2}, Scores: []NamedScores{}, Missing: [][]string{{}, {}}, Errors: make([]*reward.Error, 2), Cached: []bool{false, false},
		Dense: &DenseMaps{Weights: maps, Rewards: maps}, AdvantageMaps: maps, Heatmaps: []NamedMaps{{Name: "artifact", Each: maps}},
		Warnings: []string{"mind"}, Evaluator: "e", Model: "m", Resize: "area",
	}
	got, err := DecodeResponse(p.Encode().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Dense.Weights) != 2 || len(got.AdvantageMaps) != 2 || len(got.Heatmaps[0].Each) != 2 || got.Warnings[0] != "mind" {
		t.Errorf("got %+v", got)
	}
	p.AdvantageMaps = maps[:1]
	if _, err := DecodeResponse(p.Encode().Bytes()); !errors.Is(err, reward.ErrImageCountMismatch) {
		t.Errorf("a map too few: got %v", err)
	}
}
