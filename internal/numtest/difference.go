package numtest

import (
	"fmt"
	"math"
)

// Difference sums up how two slices differ, for bounds on a whole tensor such
// as "mean 1e-3 and max 2e-2".
type Difference struct {
	Max   float64 // largest |got-want|; infinite if any value is not finite
	Index int     // where Max occurs
	Mean  float64 // mean of |got-want|
	Rel   float64 // Euclidean norm of got-want over that of want
}

// String gives the figures on one line.
func (d Difference) String() string {
	return fmt.Sprintf("max %.3g at index %d, mean %.3g, relative %.3g", d.Max, d.Index, d.Mean, d.Rel)
}

// Compare measures how got differs from want. It panics if the lengths differ
// or are zero: a comparison of nothing would pass every bound.
func Compare[G, W Float](got []G, want []W) Difference {
	if len(got) != len(want) || len(got) == 0 {
		panic(fmt.Sprintf("numtest: cannot compare %d values with %d", len(got), len(want)))
	}
	d := Difference{Max: -1}
	var sum, square, norm float64
	for i := range got {
		g, w := float64(got[i]), float64(want[i])
		diff := distance(g, w)
		if diff > d.Max {
			d.Max, d.Index = diff, i
		}
		sum += diff
		square += diff * diff
		norm += w * w
	}
	d.Mean = sum / float64(len(got))
	d.Rel = math.Sqrt(square) / math.Sqrt(norm)
	if square == 0 {
		d.Rel = 0
	}
	return d
}

// ULPs counts the float32 steps between a and b: 0 when they are equal (and
// for the two zeros), 1 for neighbours. It is the largest uint32 when either is
// NaN.
func ULPs(a, b float32) uint32 {
	if a != a || b != b {
		return math.MaxUint32
	}
	x, y := ordinal(a), ordinal(b)
	if x < y {
		x, y = y, x
	}
	return uint32(x - y)
}

// ordinal numbers the float32 values in order, both zeros being 0.
func ordinal(f float32) int64 {
	bits := int64(math.Float32bits(f))
	if bits >= 1<<31 {
		return 1<<31 - bits
	}
	return bits
}
