package trustregion

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"

	"github.com/denseflow/densereward/flowgrpo"
)

// Loss is one of this package's losses: [GRPOGuard] or [FlowDPPO].
type Loss interface {
	settings() settings
	// check panics for a step on which the loss is not defined.
	check(image int, step *flowgrpo.Step)
	// logRatio is the exponent of the ratio, from means over channels of e delta and
	// of delta^2.
	logRatio(step *flowgrpo.Step, cross, square float64) float64
	// slope is the derivative of logRatio by one channel's delta, times the number
	// of channels.
	slope(step *flowgrpo.Step, e, delta float64) float64
	// divergence is that of the two Gaussians, from the mean of delta^2.
	divergence(step *flowgrpo.Step, square float64) float64
	// policy is the loss of a ratio with its derivative by the exponent, and whether
	// the ratio is clipped or masked.
	policy(step *flowgrpo.Step, credit, ratio, divergence float64) (loss, slope float64, blocked bool)
}

// settings are what the losses have in common.
type settings struct {
	ratio                        flowgrpo.Ratio
	bound, advantageClip, klBeta float64
}

// Evaluate computes the loss of a batch and, unless grad is empty, fills it with the
// gradient with respect to the model output, in the shape of the latents.
//
// It fails, naming the image, when a number comes out as NaN or infinite, as it does
// for NaN or infinity in what the batch holds, and when grad's type cannot hold its
// value; grad is unspecified then. It panics on wrong lengths, for a setting that is
// negative or not finite, and for a step on which the loss is not defined.
func Evaluate[T flowgrpo.Float](s Loss, b *Batch[T], grad []T) (Diagnostics, error) {
	set := s.settings()
	set.check()
	b.check(set.ratio, set.klBeta, grad)
	for i := range b.Steps {
		s.check(i, &b.Steps[i])
	}
	var d Diagnostics
	n := b.Shape.Locations
	share := 1 / float64(b.Shape.MapLen())
	cross, square, slopes := make([]float64, n), make([]float64, n), make([]float64, n)
	var ratios, divergences []float64
	var blocked int
	for image := range b.Steps {
		step := &b.Steps[image]
		b.distances(image, cross, square)
		imageRatio := math.Exp(s.logRatio(step, stat.Mean(cross, nil), stat.Mean(square, nil)))
		imageDivergence := s.divergence(step, stat.Mean(square, nil))
		if set.ratio != flowgrpo.DirectRatio {
			ratios, divergences = append(ratios, imageRatio), append(divergences, imageDivergence)
		}
		var policy, rho float64
		for l := range n {
			ratio, divergence := imageRatio, imageDivergence
			if set.ratio == flowgrpo.DirectRatio {
				ratio, divergence = math.Exp(s.logRatio(step, cross[l], square[l])), s.divergence(step, square[l])
				ratios, divergences = append(ratios, ratio), append(divergences, divergence)
			}
			loss, slope, block := s.policy(step, b.At(b.Shape, image, l, set.advantageClip), ratio, divergence)
			policy += loss
			rho += ratio / float64(n)
			slopes[l] = slope * share
			if block {
				blocked++
			}
		}
		d.PolicyLoss += policy * share
		kl := b.kl(image)
		d.KL += kl / float64(b.Shape.Batch)
		if err := check(image, imageRatio, rho, policy, kl); err != nil {
			return Diagnostics{}, err
		}
		if len(grad) != 0 && !b.gradient(s, image, slopes, set.klBeta, grad) {
			return Diagnostics{}, fmt.Errorf("trustregion: gradient of image %d overflows %T", image, T(0))
		}
	}
	d.Loss = d.PolicyLoss + set.klBeta*d.KL
	if !finite(d.Loss) {
		return Diagnostics{}, fmt.Errorf("trustregion: loss is %v", d.Loss)
	}
	d.ClipFrac = float64(blocked) * share
	d.RatioMean, d.RatioMin, d.RatioMax = stat.Mean(ratios, nil), floats.Min(ratios), floats.Max(ratios)
	d.DivergenceMean, d.DivergenceMax = stat.Mean(divergences, nil), floats.Max(divergences)
	return d, nil
}

// distances fills, for each location of an image, the means over channels of e delta
// and of delta^2.
func (b *Batch[T]) distances(image int, cross, square []float64) {
	for l := range cross {
		cross[l], square[l] = 0, 0
		for c := range b.Shape.Channels {
			e, delta := b.at(image, b.Shape.Index(image, c, l))
			cross[l] += e * delta / float64(b.Shape.Channels)
			square[l] += delta * delta / float64(b.Shape.Channels)
		}
	}
}

// at is e = x_{t-1} - mean_old and delta = mean - mean_old of a value.
func (b *Batch[T]) at(image, i int) (e, delta float64) {
	step, old := &b.Steps[image], float64(b.OldModelOutput[i])
	e = float64(b.PrevSample[i]) - (step.SampleCoef*float64(b.Sample[i]) + step.OutputCoef*old)
	return e, step.OutputCoef * (float64(b.ModelOutput[i]) - old)
}

// kl is the mean square of mean - mean_ref, times the step's KLScale.
func (b *Batch[T]) kl(image int) float64 {
	if len(b.RefModelOutput) == 0 {
		return 0
	}
	step, size := &b.Steps[image], b.Shape.Channels*b.Shape.Locations
	var sum float64
	for i := image * size; i < (image+1)*size; i++ {
		d := step.OutputCoef * (float64(b.ModelOutput[i]) - float64(b.RefModelOutput[i]))
		sum += d * d
	}
	return step.KLScale * sum / float64(size)
}

// gradient fills an image's part of grad, given the derivatives of the policy loss by
// the exponents of its locations. It reports whether all of it is finite.
func (b *Batch[T]) gradient(s Loss, image int, slopes []float64, klBeta float64, grad []T) bool {
	step := &b.Steps[image]
	byKL := 2 * klBeta * step.KLScale * step.OutputCoef * step.OutputCoef / float64(b.Shape.Len())
	all := true
	for l, slope := range slopes {
		for c := range b.Shape.Channels {
			i := b.Shape.Index(image, c, l)
			e, delta := b.at(image, i)
			g := slope * s.slope(step, e, delta) * step.OutputCoef / float64(b.Shape.Channels)
			if klBeta != 0 {
				g += byKL * (float64(b.ModelOutput[i]) - float64(b.RefModelOutput[i]))
			}
			grad[i] = T(g)
			all = all && grad[i]-grad[i] == 0
		}
	}
	return all
}

// check fails when a number of the image is not finite.
func check(image int, ratio, rho, policy, kl float64) error {
	switch {
	case !finite(ratio):
		return fmt.Errorf("trustregion: ratio of image %d is %v", image, ratio)
	case !finite(rho): // the clipped loss may well be finite
		return fmt.Errorf("trustregion: mean ratio of the locations of image %d is %v", image, rho)
	case !finite(kl):
		return fmt.Errorf("trustregion: KL term of image %d is %v", image, kl)
	case !finite(policy):
		return fmt.Errorf("trustregion: policy loss of image %d is %v", image, policy)
	}
	return nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// check panics for a setting that is negative or not finite.
func (s settings) check() {
	for _, v := range []struct {
		name  string
		value float64
	}{{"clip range or threshold", s.bound}, {"advantage clip", s.advantageClip}, {"KL beta", s.klBeta}} {
		if !(v.value >= 0) || !finite(v.value) {
			panic(fmt.Sprintf("trustregion: %s %v must be at least 0 and finite", v.name, v.value))
		}
	}
}
