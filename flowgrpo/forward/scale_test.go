package forward

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/denseflow/densereward/internal/numtest"
)

// scaled is values times by, as new values.
func scaled(values []float64, by float64) []float64 {
	var out []float64
	for _, v := range values {
		out = append(out, by*v)
	}
	return out
}

// latentsScaled is a batch whose latents and velocities are multiplied by a factor.
func latentsScaled(b *Batch[float64], by float64) *Batch[float64] {
	other := *b
	for _, field := range []*[]float64{&other.Clean, &other.Noise, &other.ModelOutput, &other.OldModelOutput, &other.RefModelOutput} {
		*field = scaled(*field, by)
	}
	return &other
}

func scaleCases(t *testing.T, test func(t *testing.T, b *Batch[float64], by float64)) {
	for _, shape := range shapes() {
		for _, dense := range []bool{false, true} {
			for _, by := range []float64{0.25, 3} {
				t.Run(fmt.Sprintf("%v, dense %v, by %v", shape, dense, by), func(t *testing.T) {
					test(t, randomBatch(rand.New(rand.NewPCG(11, 1)), shape, dense), by)
				})
			}
		}
	}
}

// DiffusionNFT divides a squared error by a mean absolute one: its policy loss has the
// unit of the latents, its gradient none, and its KL the unit's square.
func TestDiffusionNFTScalesWithTheLatents(t *testing.T) {
	scaleCases(t, func(t *testing.T, b *Batch[float64], by float64) {
		loss := DiffusionNFT{Beta: 0.4, AdvantageClip: 1.5}
		want, got := make([]float64, b.Shape.Len()), make([]float64, b.Shape.Len())
		wantD, err := EvaluateNFT(loss, b, want)
		if err != nil {
			t.Fatal(err)
		}
		d, err := EvaluateNFT(loss, latentsScaled(b, by), got)
		if err != nil {
			t.Fatal(err)
		}
		numtest.Value(t, "policy loss", d.PolicyLoss, by*wantD.PolicyLoss, exact64)
		numtest.Value(t, "KL", d.KL, by*by*wantD.KL, exact64)
		numtest.Slice(t, "gradient", got, want, exact64)
	})
}

// The advantage enters DiffusionNFT as its share of the clip, and the clip is a factor of
// the policy loss: the two scaled together scale the loss and its gradient.
func TestDiffusionNFTScalesWithAdvantagesAndTheirClip(t *testing.T) {
	scaleCases(t, func(t *testing.T, b *Batch[float64], by float64) {
		want, got := make([]float64, b.Shape.Len()), make([]float64, b.Shape.Len())
		wantD, err := EvaluateNFT(DiffusionNFT{Beta: 0.4, AdvantageClip: 1.5}, b, want)
		if err != nil {
			t.Fatal(err)
		}
		other := *b
		other.Advantages, other.AdvantageMap = scaled(b.Advantages, by), scaled(b.AdvantageMap, by)
		d, err := EvaluateNFT(DiffusionNFT{Beta: 0.4, AdvantageClip: by * 1.5}, &other, got)
		if err != nil {
			t.Fatal(err)
		}
		numtest.Value(t, "policy loss", d.PolicyLoss, by*wantD.PolicyLoss, exact64)
		numtest.Slice(t, "gradient", got, scaled(want, by), exact64)
	})
}

// Diffusion-DPO knows beta and the unit of its errors by their product alone: weights
// scaled against beta change nothing, and latents scaled against its root leave the loss
// and divide the gradient by their scale.
func TestDiffusionDPOScalesWithBeta(t *testing.T) {
	scaleCases(t, func(t *testing.T, b *Batch[float64], by float64) {
		evaluate := func(beta float64, b *Batch[float64]) (Diagnostics, []float64) {
			chosen, rejected := pairs(b)
			grad := make([]float64, b.Shape.Len())
			half := len(grad) / 2
			d, err := EvaluateDPO(DiffusionDPO{Beta: beta}, chosen, rejected, grad[:half], grad[half:])
			if err != nil {
				t.Fatal(err)
			}
			return d, grad
		}
		if len(b.Weight) == 0 {
			b.Weight = numtest.Normals(rand.New(rand.NewPCG(11, 2)), b.Shape.MapLen())
		}
		want, gradient := evaluate(dpoBeta, b)

		weights := *b
		weights.Weight = scaled(b.Weight, by)
		d, grad := evaluate(dpoBeta/by, &weights)
		numtest.Value(t, "loss of scaled weights", d.Loss, want.Loss, exact64)
		numtest.Value(t, "margin of scaled weights", d.Margin, want.Margin, exact64)
		numtest.Slice(t, "gradient of scaled weights", grad, gradient, exact64)

		d, grad = evaluate(dpoBeta/(by*by), latentsScaled(b, by))
		numtest.Value(t, "loss of scaled latents", d.Loss, want.Loss, exact64)
		numtest.Slice(t, "gradient of scaled latents", grad, scaled(gradient, 1/by), exact64)

		d, _ = evaluate(by*dpoBeta, b)
		numtest.Value(t, "margin of a scaled beta", d.Margin, by*want.Margin, exact64)
	})
}
