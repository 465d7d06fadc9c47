package trustregion

import (
	"fmt"
	"math"

	"github.com/denseflow/densereward/flowgrpo"
)

// GRPOGuard is the loss of GRPO-Guard (arXiv 2510.22319). Its ratio is normalised,
// equation 8,
//
//	log r = s (log p - log p_old + mean(delta^2) / (2 s^2)),  s = std_dev_t sqrt(-dt),
//
// which adds back the bias that keeps the mean ratio below 1 and takes the variance
// of the step out: written out it is mean(e delta) / s, linear in the model output.
// The clipped loss of an image is then divided by -dt, which equalises the gradients
// of the steps. [flow_grpo], [verl-omni]; they take one s and dt for the batch, each
// image's own here. [Flow-Factory] does not divide. Only steps by the SDE with noise
// have a ratio to normalise.
type GRPOGuard struct {
	Ratio         flowgrpo.Ratio
	ClipRange     float64
	AdvantageClip float64 // the bound of |A|; 0 for none
	KLBeta        float64
	Unweighted    bool // without the division by -dt
}

func (g GRPOGuard) settings() settings {
	return settings{g.Ratio, g.ClipRange, g.AdvantageClip, g.KLBeta}
}

// check panics for a step without the noise that the ratio is scaled by.
func (g GRPOGuard) check(image int, step *flowgrpo.Step) {
	if step.Method != flowgrpo.SDE || !(step.NoiseStd > 0) {
		panic(fmt.Sprintf("trustregion: GRPO-Guard of image %d, a step by %v with noise %v", image, step.Method, step.NoiseStd))
	}
}

func (g GRPOGuard) logRatio(step *flowgrpo.Step, cross, _ float64) float64 {
	return cross / step.NoiseStd
}

func (g GRPOGuard) slope(step *flowgrpo.Step, e, _ float64) float64 { return e / step.NoiseStd }

func (g GRPOGuard) divergence(step *flowgrpo.Step, square float64) float64 {
	return gaussianKL(step, square)
}

func (g GRPOGuard) policy(step *flowgrpo.Step, credit, ratio, _ float64) (loss, slope float64, clipped bool) {
	factor := 1.0
	if !g.Unweighted {
		factor = 1 / (step.Sigma - step.SigmaPrev)
	}
	loss = -credit * ratio
	slope = loss // the ratio is its own derivative by its exponent
	clipped = math.Abs(ratio-1) > g.ClipRange
	if clipped {
		if bound := -credit * min(max(ratio, 1-g.ClipRange), 1+g.ClipRange); bound >= loss {
			loss, slope = bound, 0
		}
	}
	return factor * loss, factor * slope, clipped
}

// gaussianKL is the divergence of two Gaussians of a step's deviation whose means
// are apart by delta: delta^2 / (2 NoiseStd^2). Without noise it is delta^2 / 2.
func gaussianKL(step *flowgrpo.Step, square float64) float64 {
	if step.NoiseStd > 0 {
		return square / (2 * step.NoiseStd * step.NoiseStd)
	}
	return square / 2
}
