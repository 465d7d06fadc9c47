package flowgrpo

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/denseflow/densereward/internal/numtest"
)

// credits are the ways to allocate credit, each of a batch of n rows.
func credits() map[string]func(rows []float64, n int) ([]float64, error) {
	const steps = 3
	return map[string]func(rows []float64, n int) ([]float64, error){
		"DenseGRPO's gains": func(rows []float64, n int) ([]float64, error) {
			gains := make([]float64, n*steps*(len(rows)/n/(steps+1)))
			return gains, StepGains(gains, rows, steps, len(rows)/n/(steps+1))
		},
		"STAR's mask": func(rows []float64, n int) ([]float64, error) {
			advantages, mask := splitRows(rows, n)
			got := make([]float64, len(mask))
			return got, MaskAdvantages(got, advantages, mask, false)
		},
		"STAR's mask, normalized": func(rows []float64, n int) ([]float64, error) {
			advantages, mask := splitRows(rows, n)
			got := make([]float64, len(mask))
			return got, MaskAdvantages(got, advantages, mask, true)
		},
	}
}

// splitRows takes the first value of each row for its advantage, and the magnitudes of
// the others for its mask.
func splitRows(rows []float64, n int) (advantages, mask []float64) {
	width := len(rows) / n
	for row := range slices.Chunk(rows, width) {
		advantages = append(advantages, row[0])
		for _, v := range row[1:] {
			mask = append(mask, math.Abs(v))
		}
	}
	return advantages, mask
}

// Samples in another order have their credit in that order.
func TestCreditPermutesWithItsSamples(t *testing.T) {
	const n, width = 4, 8
	rows := numtest.Normals(rand.New(rand.NewPCG(31, 1)), n*width)
	for name, credit := range credits() {
		want, err := credit(rows, n)
		if err != nil {
			t.Fatal(err)
		}
		var reversed, turned []float64
		for i := n - 1; i >= 0; i-- {
			reversed = append(reversed, rows[i*width:(i+1)*width]...)
			turned = append(turned, want[i*len(want)/n:(i+1)*len(want)/n]...)
		}
		got, err := credit(reversed, n)
		if err != nil || !slices.Equal(got, turned) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// Gains scale with their rewards. Credit scales with mask and advantage both, and
// normalized with the advantage alone.
func TestCreditScales(t *testing.T) {
	const n, c = 3, 4
	rows := numtest.Normals(rand.New(rand.NewPCG(32, 1)), n*8)
	scaled := make([]float64, len(rows))
	for i, v := range rows {
		scaled[i] = c * v
	}
	for name, factor := range map[string]float64{"DenseGRPO's gains": c, "STAR's mask": c * c, "STAR's mask, normalized": c} {
		want, err := credits()[name](rows, n)
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			want[i] *= factor
		}
		got, err := credits()[name](scaled, n)
		if err != nil {
			t.Fatal(err)
		}
		numtest.Slice(t, name, got, want, exact64)
	}
}

// Finite input gives finite credit or an error, however large it is.
func TestNoFiniteInputGivesNaNAsCredit(t *testing.T) {
	rng := rand.New(rand.NewPCG(33, 1))
	for name, credit := range credits() {
		failed := 0
		for range 300 {
			rows := numtest.Normals(rng, 2*8)
			for i := range rows {
				rows[i] = max(-math.MaxFloat64, min(math.MaxFloat64, rows[i]*math.Pow(10, float64(rng.IntN(617)-308))))
			}
			if rng.IntN(2) == 0 {
				rows[rng.IntN(len(rows))], rows[rng.IntN(len(rows))] = math.MaxFloat64, -math.MaxFloat64
			}
			got, err := credit(rows, 2)
			if err != nil {
				failed++
				continue
			}
			if i := slices.IndexFunc(got, func(v float64) bool { return !finite(v) }); i >= 0 {
				t.Fatalf("%s: %v at %d for %v", name, got[i], i, rows)
			}
		}
		if failed == 300 {
			t.Errorf("%s: nothing but errors", name)
		}
	}
}

// Weights of noise have a mean of 1, do not depend on the noise's unit and stay with
// their steps.
func TestNoiseWeightsLaws(t *testing.T) {
	rng := rand.New(rand.NewPCG(34, 1))
	steps, scaled, reversed := make([]Step, 6), make([]Step, 6), make([]Step, 6)
	for i := range steps {
		steps[i].NoiseStd = rng.Float64()
		scaled[i].NoiseStd = 8 * steps[i].NoiseStd
		reversed[len(steps)-1-i] = steps[i]
	}
	weights := func(steps []Step) []float64 {
		dst := make([]float64, len(steps))
		if err := NoiseWeights(dst, steps); err != nil {
			t.Fatal(err)
		}
		return dst
	}
	want := weights(steps)
	var sum float64
	for _, w := range want {
		sum += w
	}
	numtest.Value(t, "mean", sum/6, 1, exact64)
	numtest.Slice(t, "of larger noise", weights(scaled), want, exact64)
	got := weights(reversed)
	slices.Reverse(got)
	numtest.Slice(t, "the other way round", got, want, exact64)
	steps[0].NoiseStd, steps[1].NoiseStd = math.MaxFloat64, math.MaxFloat64
	if err := NoiseWeights(make([]float64, 6), steps); err == nil {
		t.Error("a mean that overflows is accepted")
	}
}
