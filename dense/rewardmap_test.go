package dense

import (
	"math"
	"strings"
	"testing"

	"github.com/denseflow/densereward/internal/numtest"
)

func TestHeatmapForms(t *testing.T) {
	heatmap := []float64{0, 0.25, 1}
	got := make([]float64, 3)
	exact := numtest.Tolerance{}

	Weight(got, heatmap)
	numtest.Slice(t, "weight", got, []float64{1, 0.75, 0}, exact)

	Reward(got, -2, heatmap)
	numtest.Slice(t, "reward", got, []float64{-2, -1.5, 0}, exact)

	Combine(got, heatmap, []float64{1, 0.75, 0}, 0.5, 0.25)
	numtest.Slice(t, "combined", got, []float64{0.25, 0.3125, 0.5}, exact)

	Weight(heatmap, heatmap)
	numtest.Slice(t, "weight in place", heatmap, []float64{1, 0.75, 0}, exact)
}

func TestBoxReward(t *testing.T) {
	whole := [4]float64{0, 0, 1000, 1000}
	left := [4]float64{0, 0, 500, 1000}
	penalty := Penalty{Artifact: 0.5, Misalignment: 0.25}
	tests := []struct {
		name    string
		boxes   []Box
		penalty Penalty
		want    []float64 // on a grid of one row and two columns, with R = 1
	}{
		{"no boxes leave the reward", nil, penalty, []float64{1, 1}},
		{"an artifact costs its alpha", []Box{{left, "artifact", 100}}, penalty, []float64{0.5, 1}},
		{"a misalignment costs its own", []Box{{left, "misalignment", 100}}, penalty, []float64{0.75, 1}},
		{"no label is an artifact", []Box{{left, "", 100}}, penalty, []float64{0.5, 1}},
		{"importance scales", []Box{{left, "artifact", 50}}, penalty, []float64{0.75, 1}},
		{"one label takes the most important box", []Box{{whole, "artifact", 25}, {left, "artifact", 50}, {left, "", 10}},
			penalty, []float64{0.75, 0.875}},
		{"two labels add up", []Box{{whole, "artifact", 50}, {left, "misalignment", 100}}, penalty, []float64{0.5, 0.75}},
		{"importance below zero covers nothing", []Box{{whole, "artifact", -20}}, penalty, []float64{1, 1}},
		{"an inverted box covers nothing", []Box{{[4]float64{900, 0, 100, 1000}, "", 100}}, penalty, []float64{1, 1}},
		{"a box within one cell covers nothing", []Box{{[4]float64{100, 0, 400, 1000}, "", 100}}, penalty, []float64{1, 1}},
		{"a box past the edges is cut off", []Box{{[4]float64{-300, -5, 1e9, 2000}, "", 100}}, penalty, []float64{0.5, 0.5}},
		{"a box outside covers nothing", []Box{{[4]float64{1000, 0, 3000, 1000}, "", 100}}, penalty, []float64{1, 1}},
		{"the least penalty holds for unimportant boxes", []Box{{left, "artifact", 1}}, Penalty{Artifact: 0.5, Min: 0.125},
			[]float64{0.875, 1}},
		{"the least penalty stands in for a smaller alpha", []Box{{left, "misalignment", 100}}, Penalty{Misalignment: 0.0625, Min: 0.125},
			[]float64{0.875, 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := make([]float64, 2)
			if err := BoxReward(got, Grid{1, 2}, 1, test.boxes, test.penalty); err != nil {
				t.Fatal(err)
			}
			numtest.Slice(t, "map", got, test.want, numtest.Tolerance{})
		})
	}
}

func TestBoxRewardRefusesWhatIsNotFinite(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	fine := Box{Coords: [4]float64{0, 0, 1, 1}, Importance: 100}
	tests := []struct {
		name    string
		reward  float64
		box     Box
		penalty Penalty
		want    string
	}{
		{"a coordinate that is NaN", 1, Box{Coords: [4]float64{0, nan, 1, 1}}, Penalty{}, "box 1 "},
		{"an infinite coordinate", 1, Box{Coords: [4]float64{0, 0, inf, 1}}, Penalty{}, "box 1 "},
		{"an importance that is NaN", 1, Box{Importance: nan}, Penalty{}, "box 1 "},
		{"a reward that is NaN", nan, fine, Penalty{}, "reward NaN"},
		{"an infinite penalty", 1, fine, Penalty{Misalignment: -inf}, "penalty"},
		{"a least penalty that is NaN", 1, fine, Penalty{Min: nan}, "penalty"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := BoxReward(make([]float32, 1), Grid{1, 1}, test.reward, []Box{fine, test.box}, test.penalty)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestAdapt(t *testing.T) {
	got, err := DefaultPenalty().Adapt([]float64{1, 3})
	if err != nil {
		t.Fatal(err)
	}
	numtest.Value(t, "artifact", got.Artifact, 0.5*math.Sqrt2, numtest.Tolerance{Rel: 1e-15})
	numtest.Value(t, "misalignment", got.Misalignment, 0.05*math.Sqrt2, numtest.Tolerance{Rel: 1e-15})

	alone, err := Penalty{Artifact: 0.5, Min: 0.02}.Adapt([]float64{7})
	if err != nil || alone != (Penalty{Min: 0.02}) {
		t.Errorf("a group of one gives %+v, %v", alone, err)
	}
	for name, group := range map[string][]float64{
		"an empty group": {}, "NaN in a group": {1, math.NaN()}, "infinity in a group": {math.Inf(-1), 2},
	} {
		if _, err := DefaultPenalty().Adapt(group); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestBoxRewardRefusesWhatItsTypeCannotHold(t *testing.T) {
	err := BoxReward(make([]float32, 1), Grid{1, 1}, 1e39, nil, Penalty{})
	if err == nil || !strings.Contains(err.Error(), "overflows float32 at cell 0") {
		t.Errorf("error %v", err)
	}
	if err := BoxReward(make([]float64, 1), Grid{1, 1}, 1e39, nil, Penalty{}); err != nil {
		t.Errorf("in float64: %v", err)
	}
}

func BenchmarkBoxReward(b *testing.B) {
	grid := Grid{64, 64}
	dst := make([]float32, grid.Cells())
	boxes := []Box{
		{[4]float64{209, 18, 265, 300}, "artifact", 30},
		{[4]float64{507, 242, 721, 484}, "misalignment", 61},
		{[4]float64{247, 98, 566, 350}, "artifact", 70},
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := BoxReward(dst, grid, 0.7, boxes, DefaultPenalty()); err != nil {
			b.Fatal(err)
		}
	}
}
