package trustregion

import (
	"math/rand/v2"
	"testing"

	"github.com/denseflow/densereward/flowgrpo"
)

func BenchmarkEvaluate(b *testing.B) {
	shape := flowgrpo.Latents(3, 16, 64, 64)
	for name, loss := range losses(flowgrpo.DetachedRatio) {
		batch := randomBatch(rand.New(rand.NewPCG(1, 1)), shape, flowgrpo.DetachedRatio)
		grad := make([]float64, shape.Len())
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := Evaluate(loss, batch, grad); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
