package flowgrpo

import (
	"fmt"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"
)

// NoiseWeights fills dst with the noise-aware weights of TempFlow-GRPO, equation 8
// of arXiv 2508.04324: the clipped term of step t is weighted by
//
//	Norm(std_dev_t sqrt(-dt)),
//
// with Norm the division by the mean over the steps that are trained, so that steps
// which explore more weigh more and the mean weight is 1. The published code
// ([TempFlow] scripts/train_sd3_pr.py) multiplies by 2.25 instead of normalising,
// which is the reciprocal of that mean over the first nine of SD3's ten steps at noise
// level 0.7: scale NoiseStd for that. The dense map enters as
// [Credit.Weight] beside the weights.
//
// It fails where no step has noise, and panics on wrong lengths.
func NoiseWeights(dst []float64, steps []Step) error {
	if len(dst) != len(steps) || len(steps) == 0 {
		panic(fmt.Sprintf("flowgrpo: dst has %d values for %d steps", len(dst), len(steps)))
	}
	for i := range steps {
		dst[i] = steps[i].NoiseStd
	}
	mean := stat.Mean(dst, nil)
	if !(mean > 0) || !finite(mean) {
		return fmt.Errorf("flowgrpo: the mean noise of %d steps is %v: there is nothing to weight by", len(steps), mean)
	}
	floats.Scale(1/mean, dst)
	return nil
}
