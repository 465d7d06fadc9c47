package scoring

import (
	"slices"

	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/reward"
)

// DefaultPreset is the grid of images where none is named.
const DefaultPreset = "sd3"

// chooseGrid settles the one dense grid of the Input's maps, if any are asked
// for.
func (l *Loaded) chooseGrid() error {
	if !l.o.method().Dense() && !l.o.Parts.Dense {
		return nil
	}
	if err := l.settleGrid(); err != nil {
		return err
	}
	if a := l.o.Advantage; a != nil && a.Smoothing/2 >= min(l.grid.Height, l.grid.Width) {
		return reward.ErrInvalidValue.With("advantage.smoothing: %d cells are too wide for maps of %s", a.Smoothing, l.grid)
	}
	n, limit := len(l.samples), l.pipeline.Limits.MapCells
	if limit > 0 && l.grid.Cells() > limit/n {
		return reward.ErrInvalidValue.With("grid: %d maps of %s cells exceed the limit of %d cells", n, l.grid, limit)
	}
	return nil
}

func (l *Loaded) settleGrid() (err error) {
	switch spec := l.o.Grid; {
	case spec.Height > 0:
		l.grid = dense.Grid{Height: spec.Height, Width: spec.Width}
		if e := l.grid.Validate(); e != nil {
			err = reward.ErrInvalidValue.With("grid: %v", e)
		}
	case spec.Preset == "" && l.latents != nil:
		l.grid = dense.Grid{Height: l.latents.layout.GridHeight, Width: l.latents.layout.GridWidth}
	case spec.Preset == "":
		err = l.presetGrid(DefaultPreset)
	default:
		err = l.presetGrid(spec.Preset)
	}
	return err
}

// presetGrid follows the size of the images, which must then be one size.
// Where no header can be read there will be no maps either, but for NaN, and
// one cell holds that.
func (l *Loaded) presetGrid(preset string) error {
	first := -1
	for i := range l.samples {
		s := &l.samples[i]
		switch {
		case l.errs[i] != nil:
		case first < 0:
			first = i
		case s.height != l.samples[first].height || s.width != l.samples[first].width:
			a := &l.samples[first]
			return reward.ErrGridMismatch.With("grid: images[%d] is %dx%d and images[%d] %dx%d pixels: name a grid by height and width",
				first, a.height, a.width, i, s.height, s.width)
		}
	}
	if first < 0 {
		l.grid = dense.Grid{Height: 1, Width: 1}
		return nil
	}
	height, width := l.samples[first].height, l.samples[first].width
	grid, err := dense.PresetGrid(preset, height, width)
	if cell := l.pipeline.Cells[preset]; cell > 0 && !slices.Contains(dense.Presets(), preset) {
		grid, err = dense.CellGrid(cell, height, width)
	}
	if err != nil {
		return reward.ErrInvalidValue.With("grid: %v", err)
	}
	l.grid = grid
	return nil
}
