package numtest

import (
	"math"
	"math/rand/v2"
)

// Normals are n values of the standard normal distribution.
func Normals(rng *rand.Rand, n int) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = rng.NormFloat64()
	}
	return values
}

// Wild puts a copy in place of every third field, at random, whose values are scaled by
// a power of ten between -300 and 300.
func Wild(rng *rand.Rand, fields ...*[]float64) {
	for _, field := range fields {
		factor := math.Pow(10, float64(rng.IntN(601)-300))
		if rng.IntN(3) != 0 {
			continue
		}
		scaled := make([]float64, len(*field))
		for i, v := range *field {
			scaled[i] = v * factor
		}
		*field = scaled
	}
}
