package server

import (
	"math"

	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/reward"
)

// respond assembles the response from the results.
func (j *job) respond() (*reward.Response, error) {
	n := len(j.images)
	p := &reward.Response{
		Rewards:   make([]float64, n),
		Missing:   make([]reward.Missing, n),
		Errors:    j.errs,
		Evaluator: j.about.Name,
		Model:     j.about.Fingerprint,
	}
	for s := range p.Scores {
		p.Scores[s] = make([]float64, n)
	}
	for i, r := range j.results {
		p.Missing[i] = r.Missing
		p.Rewards[i] = j.weights.Reward(r.Scores)
		for s := range p.Scores {
			p.Scores[s][i] = r.Scores[s]
		}
		if j.errs[i] != nil {
			p.Rewards[i] = math.NaN()
			for s := range p.Scores {
				p.Scores[s][i] = math.NaN()
			}
		}
	}
	if j.q.Wants(reward.ReturnText) {
		p.Texts = make([]string, n)
		for i, r := range j.results {
			p.Texts[i] = r.Text
		}
	}
	if j.q.Wants(reward.ReturnBoxes) {
		p.Boxes = make([][]reward.Box, n)
		for i, r := range j.results {
			p.Boxes[i] = r.Boxes
		}
	}
	if j.needsGrid() {
		j.addDense(p)
	}
	return p, nil
}

// addDense pools the heatmaps to the grid and makes weights and rewards of
// them.
func (j *job) addDense(p *reward.Response) {
	n, cells := len(j.images), j.grid.Cells()
	weight, rewards := make([]float32, n*cells), make([]float32, n*cells)
	artifact := make([]float32, cells)
	for i := range j.results {
		w, r := weight[i*cells:(i+1)*cells], rewards[i*cells:(i+1)*cells]
		if j.errs[i] != nil {
			fillNaN(w)
			fillNaN(r)
			continue
		}
		result := &j.results[i]
		pool(w, j.grid, &result.Misalignment)
		pool(artifact, j.grid, &result.Artifact)
		dense.Combine(w, w, artifact, j.weights.Misalignment, j.weights.Artifact)
		dense.Reward(r, p.Rewards[i], w)
		dense.Weight(w, w)
	}
	p.Dense = &reward.DenseMaps{
		Height: j.grid.Height, Width: j.grid.Width,
		Weight: reward.Float32Tensor(weight, n, j.grid.Height, j.grid.Width),
		Reward: reward.Float32Tensor(rewards, n, j.grid.Height, j.grid.Width),
	}
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
