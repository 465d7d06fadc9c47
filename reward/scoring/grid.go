package scoring

import (
	"slices"

	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/reward"
)

// DefaultPreset is the grid of images where none is named.
const DefaultPreset = "sd3"

// Grids are the dense grids of N samples: of one size, unless a preset follows
// images of several.
type Grids struct {
	each []dense.Grid // nil where no maps are asked for
	at   []int        // N+1: where each sample's cells begin in maps of all
}

func newGrids(each []dense.Grid) Grids {
	g := Grids{each: each, at: make([]int, len(each)+1)}
	for i, grid := range each {
		g.at[i+1] = g.at[i] + grid.Cells()
	}
	return g
}

// Len is the number of samples, 0 where no maps are asked for.
func (g Grids) Len() int { return len(g.each) }

// Of is the grid of sample i.
func (g Grids) Of(i int) dense.Grid { return g.each[i] }

// Cells is the number of cells of all samples.
func (g Grids) Cells() int {
	if g.each == nil {
		return 0
	}
	return g.at[len(g.each)]
}

// One is the grid of all samples, and whether they have one.
func (g Grids) One() (dense.Grid, bool) {
	if len(g.each) == 0 {
		return dense.Grid{}, false
	}
	same := !slices.ContainsFunc(g.each, func(other dense.Grid) bool { return other != g.each[0] })
	return g.each[0], same
}

// Map is the map of sample i among maps of all.
func (g Grids) Map(maps []float32, i int) []float32 { return maps[g.at[i]:g.at[i+1]:g.at[i+1]] }

// chooseGrids settles the dense grids of the Input's maps, if any are asked for.
func (l *Loaded) chooseGrids() error {
	if !l.o.method().Dense() && !l.o.Parts.Dense {
		return nil
	}
	each, err := l.settleGrids()
	if err != nil {
		return err
	}
	limit := l.pipeline.Limits.MapCells
	cells := 0
	for _, grid := range each {
		if a := l.o.Advantage; a != nil && a.Smoothing/2 >= min(grid.Height, grid.Width) {
			return reward.ErrInvalidValue.With("advantage.smoothing: %d cells are too wide for maps of %s", a.Smoothing, grid)
		}
		cells += grid.Cells()
		if limit > 0 && cells > limit {
			return reward.ErrInvalidValue.With("grid: %d maps of %s cells and the like exceed the limit of %d cells", len(each), grid, limit)
		}
	}
	l.grids = newGrids(each)
	return nil
}

func (l *Loaded) settleGrids() ([]dense.Grid, error) {
	spec, preset := l.o.Grid, l.o.Grid.Preset
	var grid dense.Grid
	switch {
	case spec.Height > 0:
		grid = dense.Grid{Height: spec.Height, Width: spec.Width}
		if err := grid.Validate(); err != nil {
			return nil, reward.ErrInvalidValue.With("grid: %v", err)
		}
	case preset == "" && l.latents != nil:
		grid = dense.Grid{Height: l.latents.layout.GridHeight, Width: l.latents.layout.GridWidth}
	case preset == "":
		return l.presetGrids(DefaultPreset)
	default:
		return l.presetGrids(preset)
	}
	return slices.Repeat([]dense.Grid{grid}, len(l.samples)), nil
}

// presetGrids follow the sizes of the images. Where a header cannot be read there
// will be no map either, but for NaN, which lies on the grid of the first sample
// whose size is known.
func (l *Loaded) presetGrids(preset string) ([]dense.Grid, error) {
	grids := make([]dense.Grid, len(l.samples))
	first := dense.Grid{Height: 1, Width: 1}
	found := false
	for i := range l.samples {
		if l.errs[i] != nil {
			continue
		}
		grid, err := l.pipeline.presetGrid(preset, l.samples[i].height, l.samples[i].width)
		if err != nil {
			return nil, reward.ErrInvalidValue.With("grid: %v", err)
		}
		if grids[i] = grid; !found {
			first, found = grid, true
		}
	}
	for i := range grids {
		if l.errs[i] != nil {
			grids[i] = first
		}
	}
	return grids, nil
}

func (p *Pipeline) presetGrid(preset string, height, width int) (dense.Grid, error) {
	if cell := p.Cells[preset]; cell > 0 && !slices.Contains(dense.Presets(), preset) {
		return dense.CellGrid(cell, height, width)
	}
	return dense.PresetGrid(preset, height, width)
}
