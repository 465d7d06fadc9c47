package forward

import (
	"fmt"
	"math"

	"github.com/denseflow/densereward/flowgrpo"
)

// Batch is what a loss is taken of: images, each noised once. The slices are read and
// never written.
type Batch[T flowgrpo.Float] struct {
	Shape flowgrpo.Shape
	Sigma []float64 // (B), t, above 0 and at most 1

	Clean          []T // x_0, the shape of the latents
	Noise          []T // eps
	ModelOutput    []T // v of the policy that is trained
	OldModelOutput []T // v of the policy that sampled
	RefModelOutput []T // v of the reference policy

	flowgrpo.Credit[T]
}

// Diagnostics are what a trainer logs of a loss. Those that a loss does not have are 0.
type Diagnostics struct {
	Loss       float64
	PolicyLoss float64
	KL         float64 // mean of (v - v_ref)^2, without KLBeta

	// AWM: of images, or of locations with a DirectRatio.
	RatioMean, ClipFrac float64
	// DiffusionNFT: the mean losses towards the sample and away from it.
	PositiveLoss, NegativeLoss float64
	// DiffusionDPO: the share of pairs that the policy orders as they were preferred,
	// and the mean of the implicit reward by which it does.
	Accuracy, Margin float64
}

// Noised fills dst with x_t = (1-t) x_0 + t eps, what the model is asked about. It
// panics on wrong lengths.
func Noised[T flowgrpo.Float](dst []T, shape flowgrpo.Shape, sigma []float64, clean, noise []T) {
	shape.Check()
	shape.CheckImages("sigma", len(sigma))
	shape.CheckLatents("dst", len(dst))
	shape.CheckLatents("clean latents", len(clean))
	shape.CheckLatents("noise", len(noise))
	size := shape.Channels * shape.Locations
	for i := range dst {
		t := sigma[i/size]
		dst[i] = T((1-t)*float64(clean[i]) + t*float64(noise[i]))
	}
}

// check panics unless the batch has the latents that every loss needs.
func (b *Batch[T]) check(klBeta float64, grad []T) {
	s := b.Shape
	s.Check()
	s.CheckImages("sigma", len(b.Sigma))
	for i, t := range b.Sigma {
		if !(t > 0 && t <= 1) {
			panic(fmt.Sprintf("forward: sigma of image %d is %v, not above 0 and at most 1", i, t))
		}
	}
	s.CheckLatents("clean latents", len(b.Clean))
	s.CheckLatents("noise", len(b.Noise))
	s.CheckLatents("model output", len(b.ModelOutput))
	if len(b.RefModelOutput) != 0 || klBeta != 0 {
		s.CheckLatents("ref model output", len(b.RefModelOutput))
	}
	if len(grad) != 0 {
		s.CheckLatents("gradient", len(grad))
	}
}

// target is u = eps - x_0 of a value.
func (b *Batch[T]) target(i int) float64 { return float64(b.Noise[i]) - float64(b.Clean[i]) }

func (b *Batch[T]) each(image int, visit func(location, i int)) {
	for l := range b.Shape.Locations {
		for c := range b.Shape.Channels {
			visit(l, b.Shape.Index(image, c, l))
		}
	}
}

// squareErrors fills errors (L) with the means over channels of (u - v)^2.
func (b *Batch[T]) squareErrors(image int, modelOutput []T, errors []float64) {
	clear(errors)
	b.each(image, func(l, i int) {
		d := b.target(i) - float64(modelOutput[i])
		errors[l] += d * d / float64(b.Shape.Channels)
	})
}

// kl is the mean of (v - v_ref)^2 over an image.
func (b *Batch[T]) kl(image int) float64 {
	if len(b.RefModelOutput) == 0 {
		return 0
	}
	var sum float64
	b.each(image, func(_, i int) {
		d := float64(b.ModelOutput[i]) - float64(b.RefModelOutput[i])
		sum += d * d
	})
	return sum / float64(b.Shape.Channels*b.Shape.Locations)
}

// fill writes an image's gradient, the given function of its values plus that of the
// KL term, and fails where grad's type cannot hold it.
func (b *Batch[T]) fill(grad []T, image int, klBeta float64, slope func(location, i int) float64) error {
	if len(grad) == 0 {
		return nil
	}
	byKL := 2 * klBeta / float64(b.Shape.Len())
	all := true
	b.each(image, func(l, i int) {
		g := slope(l, i)
		if klBeta != 0 {
			g += byKL * (float64(b.ModelOutput[i]) - float64(b.RefModelOutput[i]))
		}
		grad[i] = T(g)
		all = all && grad[i]-grad[i] == 0
	})
	if !all {
		return fmt.Errorf("forward: gradient of image %d overflows %T", image, T(0))
	}
	return nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// clampUnit bounds v to [0,1]. NaN stays NaN.
func clampUnit(v float64) float64 {
	switch {
	case v < 0:
		return 0
	case v > 1:
		return 1
	}
	return v
}

// checkSetting panics for a setting that is negative or not finite.
func checkSetting(name string, v float64) {
	if !(v >= 0) || !finite(v) {
		panic(fmt.Sprintf("forward: %s %v must be at least 0 and finite", name, v))
	}
}
