package dense

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/denseflow/densereward/internal/numtest"
)

// random fills a map with values in [0,1).
func random(rng *rand.Rand, grid Grid) []float64 {
	values := make([]float64, grid.Cells())
	for i := range values {
		values[i] = rng.Float64()
	}
	return values
}

func TestAdaptiveAvgPoolLaws(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	tol := numtest.Tolerance{Abs: 1e-14}
	for range 50 {
		in := Grid{1 + rng.IntN(20), 1 + rng.IntN(20)}
		out := Grid{1 + rng.IntN(20), 1 + rng.IntN(20)}
		src := random(rng, in)

		same := make([]float64, in.Cells())
		AdaptiveAvgPool(same, in, src, in)
		numtest.Slice(t, "pooling to its own grid", same, src, numtest.Tolerance{})

		constant, got := make([]float64, in.Cells()), make([]float64, out.Cells())
		for i := range constant {
			constant[i] = 0.375
		}
		AdaptiveAvgPool(got, out, constant, in)
		for _, v := range got {
			numtest.Value(t, "a constant map", v, 0.375, tol)
		}

		// Pooling a transposed map is transposing the pooled map.
		AdaptiveAvgPool(got, out, src, in)
		turned := make([]float64, out.Cells())
		AdaptiveAvgPool(turned, Grid{out.Width, out.Height}, transpose(src, in), Grid{in.Width, in.Height})
		numtest.Slice(t, "transposed", transpose(turned, Grid{out.Width, out.Height}), got, tol)
	}
}

func TestAdaptiveAvgPoolKeepsTheMeanWhereCellsDivide(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	in, out := Grid{12, 18}, Grid{4, 6}
	src, dst := random(rng, in), make([]float64, out.Cells())
	AdaptiveAvgPool(dst, out, src, in)
	numtest.Value(t, "mean", mean(dst), mean(src), numtest.Tolerance{Abs: 1e-14})
}

func TestAdaptiveAvgPoolConfinesNaN(t *testing.T) {
	src := []float64{math.NaN(), 1, 2, 3}
	dst := make([]float64, 2)
	AdaptiveAvgPool(dst, Grid{1, 2}, src, Grid{1, 4})
	if !math.IsNaN(dst[0]) || dst[1] != 2.5 {
		t.Errorf("dst = %v, want NaN and 2.5", dst)
	}
}

func transpose(src []float64, grid Grid) []float64 {
	dst := make([]float64, len(src))
	for y := range grid.Height {
		for x := range grid.Width {
			dst[x*grid.Height+y] = src[y*grid.Width+x]
		}
	}
	return dst
}

func mean(values []float64) float64 {
	var sum float64
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

func TestWrongShapesPanic(t *testing.T) {
	four := make([]float64, 4)
	tests := []struct {
		name string
		call func()
		want string
	}{
		{"a destination that is not its grid", func() { AdaptiveAvgPool(four, Grid{2, 3}, four, Grid{2, 2}) },
			"dense: dst has 4 values, its grid 2x3 needs 6"},
		{"a source that is not its grid", func() { AdaptiveAvgPool(four, Grid{2, 2}, four, Grid{1, 2}) },
			"dense: src has 4 values, its grid 1x2 needs 2"},
		{"an empty grid", func() { AdaptiveAvgPool(nil, Grid{}, four, Grid{2, 2}) }, "dense: dst has an empty grid 0x0"},
		{"sides that only multiply to the length", func() { AdaptiveAvgPool(four, Grid{-2, -2}, four, Grid{2, 2}) },
			"dense: dst has an empty grid -2x-2"},
		{"a shorter heatmap", func() { Weight(four, four[:3]) }, "dense: heatmap has 3 values, dst has 4"},
		{"a shorter heatmap for a reward", func() { Reward(four, 1, four[:3]) }, "dense: heatmap has 3 values, dst has 4"},
		{"heatmaps of two lengths", func() { Combine(four, four, four[:2], 0.5, 0.5) }, "dense: artifact has 2 values, dst has 4"},
		{"a box map that is not its grid", func() { _ = BoxReward(four, Grid{3, 3}, 1, nil, Penalty{}) },
			"dense: dst has 4 values, its grid 3x3 needs 9"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			defer func() {
				if got := recover(); got != test.want {
					t.Errorf("panic %v, want %q", got, test.want)
				}
			}()
			test.call()
		})
	}
}

func BenchmarkAdaptiveAvgPool(b *testing.B) {
	in, out := Grid{288, 288}, Grid{64, 64}
	src, dst := make([]float32, in.Cells()), make([]float32, out.Cells())
	b.SetBytes(int64(4 * len(src)))
	b.ReportAllocs()
	for b.Loop() {
		AdaptiveAvgPool(dst, out, src, in)
	}
}
