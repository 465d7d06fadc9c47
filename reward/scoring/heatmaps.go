package scoring

import (
	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/reward"
)

// Tensors gives maps that lie as Mapped has them as one tensor (N,h,w), or as N of
// (h,w) where the samples' grids differ. They share its memory.
func (g Grids) Tensors(maps []float32) (one *reward.Tensor, each []*reward.Tensor) {
	if grid, same := g.One(); same {
		return reward.Float32Tensor(maps, g.Len(), grid.Height, grid.Width), nil
	}
	each = make([]*reward.Tensor, g.Len())
	for i := range each {
		each[i] = reward.Float32Tensor(g.Map(maps, i), g.Of(i).Height, g.Of(i).Width)
	}
	return nil, each
}

// Heatmaps gives the evaluator's k-th maps as one float32 tensor (N,h,w), or as N of
// (h,w) where their sizes differ; NaN where a sample failed, zeros where its answer
// lacks the map.
func (e *Evaluated) Heatmaps(k int) (one *reward.Tensor, each []*reward.Tensor) {
	spec := e.Evaluator.Maps[k]
	sizes := make([]dense.Grid, len(e.Outcomes))
	standard := dense.Grid{Height: max(spec.Height, 1), Width: max(spec.Width, 1)}
	for i := range sizes {
		if maps := e.Outcomes[i].Maps; e.Errors[i] == nil && len(maps[k].Data) > 0 {
			sizes[i] = dense.Grid{Height: maps[k].Height, Width: maps[k].Width}
			if spec.Height == 0 {
				standard = sizes[i]
			}
		}
	}
	for i := range sizes {
		if sizes[i].Cells() == 0 {
			sizes[i] = standard
		}
	}
	grids := newGrids(sizes)
	stack := make([]float32, grids.Cells())
	for i := range sizes {
		if e.Errors[i] != nil {
			fillNaN(grids.Map(stack, i))
			continue
		}
		copy(grids.Map(stack, i), e.Outcomes[i].Maps[k].Data)
	}
	return grids.Tensors(stack)
}
