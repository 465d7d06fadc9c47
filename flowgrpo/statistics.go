package flowgrpo

import (
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"
)

// ratioStatistics describe some ratios; the zero value describes none.
type ratioStatistics struct {
	n            float64
	mean         float64
	squares      float64 // the sum of squares of the distances from the mean
	min, max     float64
	gtOne, ltOne float64 // how many lie above and below the clip range
}

// statisticsOf describes at least one ratio.
func statisticsOf(ratios []float64, clipRange float64) ratioStatistics {
	s := ratioStatistics{n: float64(len(ratios)), min: floats.Min(ratios), max: floats.Max(ratios)}
	s.mean, s.squares = stat.PopMeanVariance(ratios, nil)
	s.squares *= s.n
	if s.max-1 > clipRange || 1-s.min > clipRange {
		for _, ratio := range ratios {
			if ratio-1 > clipRange {
				s.gtOne++
			}
			if 1-ratio > clipRange {
				s.ltOne++
			}
		}
	}
	return s
}

// join adds the description of other ratios.
func (s *ratioStatistics) join(other ratioStatistics) {
	if s.n == 0 || other.n == 0 {
		if s.n == 0 {
			*s = other
		}
		return
	}
	n := s.n + other.n
	apart := other.mean - s.mean
	s.mean += apart * (other.n / n) // which no finite mean overflows
	s.squares += other.squares + apart*apart*s.n*other.n/n
	s.n = n
	s.min, s.max = math.Min(s.min, other.min), math.Max(s.max, other.max)
	s.gtOne += other.gtOne
	s.ltOne += other.ltOne
}

// std is the sample's standard deviation, 0 for a single ratio.
func (s *ratioStatistics) std() float64 {
	return math.Sqrt(s.squares / math.Max(s.n-1, 1))
}

// total adds up values in order. Unlike gonum's it lets them live on the stack.
func total(values []float64) float64 {
	var sum float64
	for _, v := range values {
		sum += v
	}
	return sum
}
