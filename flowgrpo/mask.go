package flowgrpo

import (
	"fmt"
	"math/rand/v2"
)

// TrainingMask fills mask (N) with the samples worth training on: those whose
// advantages, (N,M) row major over timesteps and locations, are not all zero. It
// returns their number.
//
// Where that number does not divide into the given count of batches, samples that
// would be dropped are put back at random until it does, if there are enough of
// them; if not, the number stays as it is, as in the reference. rng chooses them.
//
// It fails when an advantage is NaN, naming the sample. It panics on wrong
// lengths and for fewer than one batch.
func TrainingMask[T Float](mask []bool, advantages []T, batches int, rng *rand.Rand) (int, error) {
	if len(mask) == 0 || len(advantages) == 0 || len(advantages)%len(mask) != 0 {
		panic(fmt.Sprintf("flowgrpo: %d advantages for a mask of %d samples", len(advantages), len(mask)))
	}
	if batches < 1 {
		panic(fmt.Sprintf("flowgrpo: %d batches", batches))
	}
	width := len(advantages) / len(mask)
	kept := 0
	for i := range mask {
		mask[i] = false
		for _, a := range advantages[i*width : (i+1)*width] {
			if a != a {
				return 0, fmt.Errorf("flowgrpo: an advantage of sample %d is NaN", i)
			}
			mask[i] = mask[i] || a != 0
		}
		if mask[i] {
			kept++
		}
	}
	missing := (batches - kept%batches) % batches
	if len(mask)-kept < missing {
		return kept, nil
	}
	for ; missing > 0; missing-- {
		putBack(mask, rng.IntN(len(mask)-kept))
		kept++
	}
	return kept, nil
}

// putBack sets the n-th entry of mask that is false.
func putBack(mask []bool, n int) {
	for i, set := range mask {
		if set {
			continue
		}
		if n == 0 {
			mask[i] = true
			return
		}
		n--
	}
}
