package server

import (
	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/reward"
)

// defaultPreset is the grid of images whose request names none.
const defaultPreset = "sd3"

// needsGrid reports whether the request asks for anything on the dense grid.
func (j *job) needsGrid() bool {
	switch j.method() {
	case reward.AdvantageDenseFlow, reward.AdvantageDenseFlowPaper, reward.AdvantageBoxFlow:
		return true
	}
	return j.q.Wants(reward.ReturnDense)
}

func (j *job) method() reward.AdvantageMethod {
	if j.q.Advantage == nil {
		return reward.AdvantageNone
	}
	return j.q.Advantage.Method
}

// chooseGrid settles the one dense grid of the request's maps.
func (j *job) chooseGrid() error {
	if !j.needsGrid() {
		return nil
	}
	var err error
	switch spec := j.q.Grid; {
	case spec.Height > 0:
		j.grid = dense.Grid{Height: spec.Height, Width: spec.Width}
		if e := j.grid.Validate(); e != nil {
			err = reward.ErrInvalidValue.With("grid: %v", e)
		}
	case spec.Preset == "" && j.decoder != nil:
		j.grid.Height, j.grid.Width, err = j.decoder.Grid(j.q.Latents.Shape)
	default:
		err = j.presetGrid(spec.Preset)
	}
	return err
}

// presetGrid follows the size of the images, which must then be one size.
func (j *job) presetGrid(preset string) error {
	if preset == "" {
		preset = defaultPreset
	}
	first := -1
	for i, image := range j.images {
		switch {
		case image == nil:
		case first < 0:
			first = i
		case image.Height != j.images[first].Height || image.Width != j.images[first].Width:
			a, b := j.images[first], image
			return reward.ErrGridMismatch.With("grid: images[%d] is %dx%d and images[%d] %dx%d pixels: name a grid by height and width",
				first, a.Height, a.Width, i, b.Height, b.Width)
		}
	}
	if first < 0 {
		// No picture to follow and so no value to report: one cell of NaN.
		j.grid = dense.Grid{Height: 1, Width: 1}
		return nil
	}
	grid, err := dense.PresetGrid(preset, j.images[first].Height, j.images[first].Width)
	if err != nil {
		return reward.ErrInvalidValue.With("grid: %v", err)
	}
	j.grid = grid
	return nil
}
