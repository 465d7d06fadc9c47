package metrics

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
)

// Correlations tell how well predicted scores agree with human ones, each in
// [-1,1]; all are 0 where either side is constant.
type Correlations struct {
	N       int     `json:"n"`
	PLCC    float64 `json:"plcc"`    // Pearson's linear correlation
	SRCC    float64 `json:"srcc"`    // Spearman's rank correlation
	Kendall float64 `json:"kendall"` // Kendall's tau-b
}

// Correlate computes all three. It needs at least two finite pairs.
func Correlate(predicted, truth []float64) (Correlations, error) {
	if err := checkPairs(predicted, truth, 2); err != nil {
		return Correlations{}, fmt.Errorf("metrics: correlation: %w", err)
	}
	return Correlations{
		N:       len(truth),
		PLCC:    pearson(predicted, truth),
		SRCC:    pearson(ranks(predicted), ranks(truth)),
		Kendall: kendall(predicted, truth),
	}, nil
}

// pearson is sum((x-mx)(y-my)) / sqrt(sum((x-mx)^2) sum((y-my)^2)).
func pearson(x, y []float64) float64 {
	if constant(x) || constant(y) {
		return 0
	}
	r := stat.Correlation(deviations(x), deviations(y), nil)
	if r != r { // the deviations vanish beside the mean
		return 0
	}
	return max(-1, min(1, r))
}

// deviations are x from its first value, in units of a power of two near the largest:
// small deviations from a large mean lose nothing, and squares neither overflow nor vanish.
func deviations(x []float64) []float64 {
	_, exponent := math.Frexp(largest(x))
	moved := make([]float64, len(x))
	for i, v := range x {
		moved[i] = math.Ldexp(v, -exponent) - math.Ldexp(x[0], -exponent)
	}
	return moved
}

// unit scales x to a largest magnitude of one, so that squares neither overflow
// nor vanish.
func unit(x []float64) []float64 {
	most := largest(x)
	scaled := make([]float64, len(x))
	for i, v := range x {
		scaled[i] = v / most
	}
	return scaled
}

// largest is the largest magnitude.
func largest(x []float64) float64 {
	var most float64
	for _, v := range x {
		most = max(most, math.Abs(v))
	}
	return most
}

func constant(x []float64) bool {
	return slices.Min(x) == slices.Max(x)
}

// ranks are 1-based; equal values share the mean of their ranks.
func ranks(x []float64) []float64 {
	order := ordered(len(x), func(a, b int) int { return cmp.Compare(x[a], x[b]) })
	out := make([]float64, len(x))
	for first := 0; first < len(order); {
		last := first
		for last+1 < len(order) && x[order[last+1]] == x[order[first]] {
			last++
		}
		for _, at := range order[first : last+1] {
			out[at] = float64(first+last)/2 + 1
		}
		first = last + 1
	}
	return out
}

func ordered(n int, compare func(a, b int) int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, compare)
	return order
}

// kendall is tau-b, (C-D)/sqrt((C+D+Tx)(C+D+Ty)), by Knight's method (1966):
// D is the number of exchanges that sort y after x has been sorted.
func kendall(x, y []float64) float64 {
	order := ordered(len(x), func(a, b int) int {
		return cmp.Or(cmp.Compare(x[a], x[b]), cmp.Compare(y[a], y[b]))
	})
	sorted := make([]float64, len(order))
	for i, at := range order {
		sorted[i] = y[at]
	}
	tiedX := tiedPairs(order, func(a, b int) bool { return x[a] == x[b] })
	tiedBoth := tiedPairs(order, func(a, b int) bool { return x[a] == x[b] && y[a] == y[b] })
	discordant := exchanges(sorted, make([]float64, len(sorted)))
	// sorted now is.
	positions := ordered(len(sorted), cmp.Compare[int])
	tiedY := tiedPairs(positions, func(a, b int) bool { return sorted[a] == sorted[b] })
	n := float64(len(x))
	pairs := n * (n - 1) / 2
	if pairs == tiedX || pairs == tiedY {
		return 0
	}
	tau := (pairs - tiedX - tiedY + tiedBoth - 2*discordant) / math.Sqrt(pairs-tiedX) / math.Sqrt(pairs-tiedY)
	return max(-1, min(1, tau))
}

// tiedPairs counts the pairs within runs of neighbours that equal accepts.
func tiedPairs(order []int, equal func(a, b int) bool) float64 {
	var pairs float64
	run := 0.0
	for i := 1; i < len(order); i++ {
		if equal(order[i-1], order[i]) {
			run++
			pairs += run
		} else {
			run = 0
		}
	}
	return pairs
}

// exchanges sorts y by merging and counts the pairs that were out of order.
func exchanges(y, spare []float64) float64 {
	if len(y) < 2 {
		return 0
	}
	half := len(y) / 2
	count := exchanges(y[:half], spare[:half]) + exchanges(y[half:], spare[half:])
	left, right, out := y[:half], y[half:], spare[:0]
	for len(left) > 0 && len(right) > 0 {
		if right[0] < left[0] {
			count += float64(len(left))
			out, right = append(out, right[0]), right[1:]
		} else {
			out, left = append(out, left[0]), left[1:]
		}
	}
	out = append(append(out, left...), right...)
	copy(y, out)
	return count
}

// checkPairs fails unless x and y have the same length, at least least, and
// finite values.
func checkPairs(x, y []float64, least int) error {
	if len(x) != len(y) {
		return fmt.Errorf("%d values beside %d", len(x), len(y))
	}
	if len(x) < least {
		return fmt.Errorf("%d values, at least %d are needed", len(x), least)
	}
	if err := checkFinite(x); err != nil {
		return err
	}
	return checkFinite(y)
}

func checkFinite[F float32 | float64](x []F) error {
	for i, v := range x {
		if v-v != 0 { // NaN or infinite
			return fmt.Errorf("value %d is %v", i, v)
		}
	}
	return nil
}
