package flowgrpo

import "fmt"

// MaskAdvantages fills dst (N,L) with an image's advantage allocated to its
// locations by an external mask,
//
//	A(l) = A M(l)   or, normalized,   A(l) = A M(l) / mean(M),
//
// as STAR (arXiv 2606.17979) allocates the group-relative advantage by maps of
// text-image attention; boxes, segmentations and 1-H are masks as well. Normalized,
// the mean of A(l) stays A, so that a mask moves credit and adds none. The paper's
// code is not public, and of the paper the abstract alone was at hand: the choice of
// normalisation is the caller's here, and testdata/star.py is a second writing of those
// words, not the authors'.
//
// The mask (N,L) is at least 0. It fails, naming the sample, for a value that is
// negative, NaN or infinite, an advantage that is not finite, before or after, and,
// normalized, for a mask that is 0 everywhere. dst may be mask. It panics on wrong lengths.
func MaskAdvantages[T Float](dst []T, advantages []float64, mask []T, normalized bool) error {
	n := len(advantages)
	if n == 0 || len(mask) == 0 || len(mask)%n != 0 || len(dst) != len(mask) {
		panic(fmt.Sprintf("flowgrpo: a mask of %d values and a dst of %d for %d advantages", len(mask), len(dst), n))
	}
	locations := len(mask) / n
	for i, a := range advantages {
		if !finite(a) {
			return fmt.Errorf("flowgrpo: advantage of sample %d is %v", i, a)
		}
		var sum float64
		for l, m := range mask[i*locations : (i+1)*locations] {
			if !(m >= 0) || !finite(float64(m)) {
				return fmt.Errorf("flowgrpo: mask of sample %d is %v at location %d", i, m, l)
			}
			sum += float64(m)
		}
		factor := a
		if normalized {
			if sum == 0 || !finite(sum) {
				return fmt.Errorf("flowgrpo: mask of sample %d sums up to %v", i, sum)
			}
			factor *= float64(locations) / sum
		}
		for l := i * locations; l < (i+1)*locations; l++ {
			dst[l] = T(factor * float64(mask[l]))
			if !finite(float64(dst[l])) {
				return fmt.Errorf("flowgrpo: advantage of sample %d is %v at location %d", i, dst[l], l-i*locations)
			}
		}
	}
	return nil
}
