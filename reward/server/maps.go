package server

import (
	"math"

	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/reward/scoring"
)

// makeMaps pools the maps to the grid and makes weights and rewards of
// them.
func (r *rollout) makeMaps() {
	cells := r.grid.Cells()
	if cells == 0 {
		return
	}
	n := len(r.outcomes)
	r.weight, r.denseReward = make([]float32, n*cells), make([]float32, n*cells)
	var combiner scoring.Combiner
	for i := range r.outcomes {
		weight, rewards := r.cells(r.weight, i), r.cells(r.denseReward, i)
		if r.errs[i] != nil {
			fillNaN(weight)
			fillNaN(rewards)
			continue
		}
		combiner.Combine(weight, r.grid, r.outcomes[i].Maps, r.weights.Maps)
		dense.Reward(rewards, r.rewards[i], weight)
		dense.Weight(weight, weight)
	}
}

// cells is the map of sample i in maps (N,h,w).
func (r *rollout) cells(maps []float32, i int) []float32 {
	n := r.grid.Cells()
	return maps[i*n : (i+1)*n : (i+1)*n]
}

func fillNaN(values []float32) {
	nan := float32(math.NaN())
	for i := range values {
		values[i] = nan
	}
}
