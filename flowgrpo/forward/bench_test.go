package forward

import (
	"math/rand/v2"
	"testing"

	"github.com/denseflow/densereward/flowgrpo"
)

func BenchmarkEvaluate(b *testing.B) {
	shape := flowgrpo.Latents(4, 16, 64, 64)
	for _, m := range methods() {
		batch := randomBatch(rand.New(rand.NewPCG(1, 1)), shape, m.dense)
		grad := make([]float64, shape.Len())
		b.Run(m.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := m.fused(batch, grad); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
