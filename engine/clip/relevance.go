package clip

import (
	"context"
	"fmt"
	"math"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/reward"
)

// mapIrrelevance is the name of the experimental map.
const mapIrrelevance = "irrelevance"

// relevanceNote stands in the description of a scorer with the map.
const relevanceNote = "the map is experimental"

// EnableRelevanceMap adds an experimental map to a score that compares image and prompt:
// how little each patch agrees with the prompt. A patch is its token behind the last block
// of the vision tower, after the norm and the projection that training gave the class
// token alone; its value is (1 - cosine with the prompt's embedding) / 2. Nobody trained
// these tokens to say where a thing is, and those of a small CLIP trained on drawn scenes
// do not: AUC .56 of the named object's mask, where a prior for the middle has .69
// (examples/relevance). With published weights the map has not been measured. The model
// must have been loaded with Options.Patches.
func (s *Scorer) EnableRelevanceMap() error {
	if !s.usesTexts {
		return fmt.Errorf("clip: relevance map: %s does not look at the prompt", s.about.Kind)
	}
	if s.model.preprocessor.fit == fitPad {
		return fmt.Errorf("clip: relevance map: %s pads its images, which the map does not know", s.about.Kind)
	}
	if !s.model.options.Patches {
		return fmt.Errorf("clip: relevance map: the model was loaded without patches")
	}
	s.relevance = true
	s.about.Fingerprint += " relevance map"
	s.about.Note += "; " + relevanceNote
	s.about.Maps = []reward.MapSpec{{
		Name: mapIrrelevance, Weight: 1,
		Doc: "experimental: (1 - cosine) / 2 of each patch's projected token with the prompt",
	}}
	return nil
}

// Patches gives the embeddings of squares as Images does and, for each, those of its
// patches, row by row, each of length 1.
func (m *Model) Patches(ctx context.Context, squares [][]uint8) (images [][]float32, patches [][][]float32, err error) {
	if !m.options.Patches {
		return nil, nil, fmt.Errorf("clip: the model was loaded without patches")
	}
	n := m.config.Grid() * m.config.Grid()
	err = m.runImages(ctx, squares, func(out []ort.Tensor) {
		images = append(images, normalized(out[0], m.config.ProjectionDim)...)
		rows := normalized(out[1], m.config.ProjectionDim)
		for ; len(rows) > 0; rows = rows[n:] {
			patches = append(patches, rows[:n])
		}
	})
	return images, patches, err
}

// irrelevance is the map of an image with the given sides. Of the image CLIP sees the
// square in its middle; the mean of that stands beside it.
func irrelevance(patches [][]float32, text []float32, grid, width, height int) reward.Map {
	values, sum := make([]float32, len(patches)), 0.0
	for i, patch := range patches {
		v := (1 - cosine(patch, text)) / 2
		v = math.Min(1, math.Max(0, v)) // rounding may take a cosine a little past 1
		values[i] = float32(v)
		sum += v
	}
	short := min(width, height)
	m := reward.Map{Height: cells(grid, height, short), Width: cells(grid, width, short)}
	m.Data = make([]float32, m.Height*m.Width)
	mean := float32(sum / float64(len(values)))
	top, left := (m.Height-grid)/2, (m.Width-grid)/2
	for i := range m.Data {
		row, col := i/m.Width-top, i%m.Width-left
		m.Data[i] = mean
		if row >= 0 && row < grid && col >= 0 && col < grid {
			m.Data[i] = values[row*grid+col]
		}
	}
	return m
}

// maxCells bounds a side of the map of an image that is very long.
const maxCells = 1024

// cells is how many patches a side has when the short one has grid.
func cells(grid, side, short int) int {
	return min(max(grid, maxCells), int(math.Round(float64(grid)*float64(side)/float64(short))))
}
