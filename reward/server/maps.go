package server

import (
	"math"

	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/reward"
)

// makeMaps pools the heatmaps to the grid and makes weights and rewards of
// them.
func (r *rollout) makeMaps() {
	cells := r.grid.Cells()
	if cells == 0 {
		return
	}
	n := len(r.outcomes)
	r.weight, r.denseReward = make([]float32, n*cells), make([]float32, n*cells)
	artifact := make([]float32, cells)
	for i := range r.outcomes {
		weight, rewards := r.cells(r.weight, i), r.cells(r.denseReward, i)
		if r.errs[i] != nil {
			fillNaN(weight)
			fillNaN(rewards)
			continue
		}
		o := &r.outcomes[i]
		pool(weight, r.grid, &o.Misalignment)
		pool(artifact, r.grid, &o.Artifact)
		dense.Combine(weight, weight, artifact, r.weights.Misalignment, r.weights.Artifact)
		dense.Reward(rewards, r.rewards[i], weight)
		dense.Weight(weight, weight)
	}
}

// cells is the map of sample i in maps (N,h,w).
func (r *rollout) cells(maps []float32, i int) []float32 {
	n := r.grid.Cells()
	return maps[i*n : (i+1)*n : (i+1)*n]
}

// pool brings a heatmap to the grid.
func pool(dst []float32, grid dense.Grid, h *reward.Heatmap) {
	dense.AdaptiveAvgPool(dst, grid, h.Data, dense.Grid{Height: h.Height, Width: h.Width})
}

func fillNaN(values []float32) {
	nan := float32(math.NaN())
	for i := range values {
		values[i] = nan
	}
}
