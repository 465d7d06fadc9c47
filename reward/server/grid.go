package server

import (
	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
)

// defaultPreset is the grid of images whose request names none.
const defaultPreset = "sd3"

func (r *rollout) method() reward.AdvantageMethod {
	if r.q.Advantage == nil {
		return reward.AdvantageNone
	}
	return r.q.Advantage.Method
}

// chooseGrid settles the one dense grid of the request's maps, if it asks for
// any.
func (r *rollout) chooseGrid() error {
	draws := len(r.model.Description.Maps) > 0
	asked := r.method().Dense() || (r.q.Return != nil && (r.q.Wants(wire.ReturnDense) || r.q.Wants(wire.ReturnHeatmaps)))
	switch {
	case asked && !draws:
		return reward.ErrInvalidValue.With("return: %s draws no maps", r.model.Description.Name)
	case !draws, !r.method().Dense() && !r.q.Wants(wire.ReturnDense):
		return nil
	}
	if err := r.settleGrid(); err != nil {
		return err
	}
	if a := r.q.Advantage; a != nil && a.Smoothing/2 >= min(r.grid.Height, r.grid.Width) {
		return reward.ErrInvalidValue.With("advantage.smoothing: %d cells are too wide for maps of %s", a.Smoothing, r.grid)
	}
	if n := len(r.pictures); r.grid.Cells() > r.limits.MapCells/n {
		return reward.ErrInvalidValue.With("grid: %d maps of %s cells exceed the limit of %d cells", n, r.grid, r.limits.MapCells)
	}
	return nil
}

func (r *rollout) settleGrid() (err error) {
	switch spec := r.q.Grid; {
	case spec.Height > 0:
		r.grid = dense.Grid{Height: spec.Height, Width: spec.Width}
		if e := r.grid.Validate(); e != nil {
			err = reward.ErrInvalidValue.With("grid: %v", e)
		}
	case spec.Preset == "" && r.latents != nil:
		r.grid = dense.Grid{Height: r.latents.layout.GridHeight, Width: r.latents.layout.GridWidth}
	case spec.Preset == "":
		err = r.presetGrid(defaultPreset)
	default:
		err = r.presetGrid(spec.Preset)
	}
	return err
}

// presetGrid follows the size of the images, which must then be one size.
// Where no header can be read there will be no maps either, but for NaN, and
// one cell holds that.
func (r *rollout) presetGrid(preset string) error {
	first := -1
	for i := range r.pictures {
		p := &r.pictures[i]
		switch {
		case r.errs[i] != nil:
		case first < 0:
			first = i
		case p.height != r.pictures[first].height || p.width != r.pictures[first].width:
			a := &r.pictures[first]
			return reward.ErrGridMismatch.With("grid: images[%d] is %dx%d and images[%d] %dx%d pixels: name a grid by height and width",
				first, a.height, a.width, i, p.height, p.width)
		}
	}
	if first < 0 {
		r.grid = dense.Grid{Height: 1, Width: 1}
		return nil
	}
	grid, err := dense.PresetGrid(preset, r.pictures[first].height, r.pictures[first].width)
	if err != nil {
		return reward.ErrInvalidValue.With("grid: %v", err)
	}
	r.grid = grid
	return nil
}
