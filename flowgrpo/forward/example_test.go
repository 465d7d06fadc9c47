package forward_test

import (
	"fmt"

	"github.com/denseflow/densereward/flowgrpo"
	"github.com/denseflow/densereward/flowgrpo/forward"
)

// DiffusionNFT of one image of which the second latent pixel is flawed: its preference
// lies half-way, and its gradient is 0 while the policy has not moved.
func Example() {
	batch := &forward.Batch[float64]{
		Shape:          flowgrpo.Latents(1, 1, 1, 2),
		Sigma:          []float64{0.5},
		Clean:          []float64{0.2, -0.2},
		Noise:          []float64{1, -1},
		ModelOutput:    []float64{0.5, -0.5},
		OldModelOutput: []float64{0.5, -0.5},
		Credit:         flowgrpo.Credit[float64]{Advantages: []float64{2.5}, Weight: []float64{1, 0}}, // 1-H
	}
	grad := make([]float64, batch.Shape.Len())
	d, err := forward.EvaluateNFT(forward.DiffusionNFT{Beta: 1, AdvantageClip: 5}, batch, grad)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("loss %.3f, gradient %.3f\n", d.Loss, grad)
	// Output:
	// loss 0.750, gradient [-1.250 0.000]
}
