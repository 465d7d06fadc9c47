package scoring

import (
	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/reward"
)

// Combiner makes one map on the grid of an evaluator's maps. It keeps its
// buffers from one sample to the next; it is not safe for concurrent use.
type Combiner struct {
	sum    []float64
	pooled []float32
}

// Combine fills dst, a map on grid, with the weighted sum of maps, each brought
// to the grid by adaptive average pooling. Sums are made in float64 and rounded
// once. A map without values counts as 0.
func (c *Combiner) Combine(dst []float32, grid dense.Grid, maps []reward.Map, weights []float64) {
	if len(c.sum) != len(dst) {
		c.sum, c.pooled = make([]float64, len(dst)), make([]float32, len(dst))
	}
	clear(c.sum)
	for k, m := range maps {
		if weights[k] == 0 || len(m.Data) == 0 {
			continue
		}
		dense.AdaptiveAvgPool(c.pooled, grid, m.Data, dense.Grid{Height: m.Height, Width: m.Width})
		for i, v := range c.pooled {
			c.sum[i] += weights[k] * float64(v)
		}
	}
	for i, v := range c.sum {
		dst[i] = float32(v)
	}
}
