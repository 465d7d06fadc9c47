package trustregion_test

import (
	"fmt"

	"github.com/denseflow/densereward/flowgrpo"
	"github.com/denseflow/densereward/flowgrpo/trustregion"
)

// A policy that has moved: GRPO-Guard's ratio of one image, and the gradient by which
// flawed latent pixels count less.
func Example() {
	step := flowgrpo.NewSchedule(10, 3).Step(4, flowgrpo.SDE, 0.7)
	batch := &trustregion.Batch[float64]{
		Shape:          flowgrpo.Latents(1, 1, 1, 2),
		Steps:          []flowgrpo.Step{step},
		Sample:         []float64{0.5, -0.5},
		PrevSample:     []float64{0.6, -0.4},
		OldModelOutput: []float64{0.1, 0.1},
		ModelOutput:    []float64{0.1, 0.12},
		Credit:         flowgrpo.Credit[float64]{Advantages: []float64{1}, Weight: []float64{1, 0.25}}, // 1-H
	}
	grad := make([]float64, batch.Shape.Len())
	d, err := trustregion.Evaluate(trustregion.GRPOGuard{Ratio: flowgrpo.DetachedRatio, ClipRange: 0.01}, batch, grad)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("ratio %.5f, divergence %.1e, gradient %.3f\n", d.RatioMean, d.DivergenceMean, grad)
	// Output:
	// ratio 0.99984, divergence 7.0e-06, gradient [0.252 0.025]
}
