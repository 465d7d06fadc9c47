package trustregion

import (
	"fmt"

	"github.com/denseflow/densereward/flowgrpo"
)

// Batch is what a loss is taken of: one transition of each image. The slices are
// read and never written.
type Batch[T flowgrpo.Float] struct {
	Shape flowgrpo.Shape
	Steps []flowgrpo.Step // (B)

	Sample         []T // x_t, the shape of the latents
	PrevSample     []T // x_{t-1} that was sampled
	ModelOutput    []T // v of the policy that is trained
	OldModelOutput []T // v of the policy that sampled
	RefModelOutput []T // v of the reference policy; needed for a KLBeta other than 0

	flowgrpo.Credit[T]
}

// Diagnostics are what a trainer logs of a loss.
type Diagnostics struct {
	Loss       float64
	PolicyLoss float64
	KL         float64 // to the reference, without KLBeta

	// Of images, or of locations with a DirectRatio.
	RatioMean, RatioMin, RatioMax float64
	// ClipFrac is the share of ratios outside the clip range, for GRPOGuard, and of
	// masked ones, for FlowDPPO; of locations unless the ratio is an ImageRatio.
	ClipFrac float64
	// The divergence from the policy that sampled, mean_c(delta^2)/(2 NoiseStd^2).
	DivergenceMean, DivergenceMax float64
}

// check panics unless the batch has what a loss needs, in the right lengths.
func (b *Batch[T]) check(ratio flowgrpo.Ratio, klBeta float64, grad []T) {
	s := b.Shape
	s.Check()
	if len(b.Steps) != s.Batch {
		panic(fmt.Sprintf("trustregion: %d steps for a batch of %d", len(b.Steps), s.Batch))
	}
	s.CheckLatents("sample", len(b.Sample))
	s.CheckLatents("prev sample", len(b.PrevSample))
	s.CheckLatents("model output", len(b.ModelOutput))
	s.CheckLatents("old model output", len(b.OldModelOutput))
	if len(b.RefModelOutput) != 0 || klBeta != 0 {
		s.CheckLatents("ref model output", len(b.RefModelOutput))
	}
	if len(grad) != 0 {
		s.CheckLatents("gradient", len(grad))
	}
	b.Credit.Check(s)
	switch ratio {
	case flowgrpo.ImageRatio:
		if b.Dense() {
			panic("trustregion: an image ratio takes neither an advantage map nor a weight")
		}
	case flowgrpo.DetachedRatio, flowgrpo.DirectRatio:
	default:
		panic(fmt.Sprintf("trustregion: unknown ratio %v", ratio))
	}
}
