package scoring

import (
	"math"

	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/reward"
)

// Mapped is Evaluated with dense maps, each on its sample's grid, one after the
// other: (N,h,w) where all have one grid. They are NaN where a sample failed, nil
// where no maps are asked for.
type Mapped struct {
	*Evaluated
	Weight []float32 // 1-H
	Reward []float32 // R_D, which is R(1-H)
}

// MakeMaps pools the evaluator's maps to the grid and makes weights and rewards
// of them.
func (e *Evaluated) MakeMaps() *Mapped {
	m := &Mapped{Evaluated: e}
	cells := e.Grids.Cells()
	if cells == 0 {
		return m
	}
	m.Weight, m.Reward = make([]float32, cells), make([]float32, cells)
	var c combiner
	for i := range e.Outcomes {
		weight, rewards := e.Grids.Map(m.Weight, i), e.Grids.Map(m.Reward, i)
		if e.Errors[i] != nil {
			fillNaN(weight)
			fillNaN(rewards)
			continue
		}
		c.combine(weight, e.Grids.Of(i), e.Outcomes[i].Maps, e.weights.Maps)
		dense.Reward(rewards, e.Rewards[i], weight)
		dense.Weight(weight, weight)
	}
	return m
}

func fillNaN(values []float32) {
	nan := float32(math.NaN())
	for i := range values {
		values[i] = nan
	}
}

// combiner makes one map on the grid of an evaluator's maps. It keeps its
// buffers from one sample to the next; it is not safe for concurrent use.
type combiner struct {
	sum    []float64
	pooled []float32
}

// combine fills dst, a map on grid, with the weighted sum of maps, each brought
// to the grid by adaptive average pooling. Sums are made in float64 and rounded
// once. A map without values counts as 0.
func (c *combiner) combine(dst []float32, grid dense.Grid, maps []reward.Map, weights []float64) {
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
