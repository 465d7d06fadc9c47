package dense

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// MaxSide bounds each side of a grid that comes from outside. A latent cell is
// at least 8 pixels wide, so it admits images of 8,192 pixels a side.
const MaxSide = 1024

// Grid is the shape of a latent grid, in cells.
type Grid struct {
	Height, Width int
}

// presets gives the pixels that one cell of a model's grid covers in each
// direction, in the order in which they are listed to people.
var presets = [...]struct {
	name string
	cell int
}{
	{"sd3", 8},             // one latent pixel, of SD3 and SD3.5
	{"flux", 16},           // one token of 2x2 latent pixels
	{"flux2", 16},          // one token: a latent pixel of the patchified latents
	{"qwen-image", 16},     // the same packing as FLUX
	{"qwen-image-2.1", 16}, // one token: a latent pixel
	{"sana", 32},           // one latent pixel
	{"wan", 8},             // one latent pixel of Wan 2.1
	{"z-image", 8},         // one latent pixel
}

// Presets lists the names that [PresetGrid] knows.
func Presets() []string {
	names := make([]string, len(presets))
	for i, p := range presets {
		names[i] = p.name
	}
	return names
}

// PresetGrid is the latent grid that the named model has for an image of the
// given size in pixels: that of its latents, height/8 by width/8 for "sd3", or of
// its packed tokens, height/16 by width/16 for "flux". It fails for an unknown
// name and where [CellGrid] would.
func PresetGrid(name string, imageHeight, imageWidth int) (Grid, error) {
	i := slices.IndexFunc(presets[:], func(p struct {
		name string
		cell int
	}) bool {
		return p.name == name
	})
	if i < 0 {
		return Grid{}, fmt.Errorf("dense: grid preset %q is not one of %s", name, strings.Join(Presets(), ", "))
	}
	grid, err := CellGrid(presets[i].cell, imageHeight, imageWidth)
	if err != nil {
		return Grid{}, fmt.Errorf("dense: grid preset %q for an image of %dx%d pixels: %w", name, imageHeight, imageWidth, err)
	}
	return grid, nil
}

// CellGrid is the grid of cells of cell pixels a side, at least 1, that cover an
// image of the given size in pixels. Sizes that do not divide are rounded down, as
// the pipelines of diffusers do, but to no less than one cell. It fails where
// [Grid.Validate] would.
func CellGrid(cell, imageHeight, imageWidth int) (Grid, error) {
	side := func(pixels int) int {
		if pixels < 1 {
			return 0
		}
		return max(1, pixels/cell)
	}
	grid := Grid{Height: side(imageHeight), Width: side(imageWidth)}
	if err := grid.Validate(); err != nil {
		return Grid{}, err
	}
	return grid, nil
}

// ParseGrid reads HEIGHTxWIDTH in cells, such as "64x64", or the name of a
// preset, which is resolved for an image of the given size in pixels.
func ParseGrid(text string, imageHeight, imageWidth int) (Grid, error) {
	height, width, explicit := strings.Cut(text, "x")
	h, errH := strconv.Atoi(height)
	w, errW := strconv.Atoi(width)
	if !explicit || errH != nil || errW != nil {
		if slices.Contains(Presets(), text) {
			return PresetGrid(text, imageHeight, imageWidth)
		}
		return Grid{}, fmt.Errorf("dense: grid %q is neither HEIGHTxWIDTH nor one of %s", text, strings.Join(Presets(), ", "))
	}
	grid := Grid{Height: h, Width: w}
	if err := grid.Validate(); err != nil {
		return Grid{}, fmt.Errorf("dense: grid %q: %w", text, err)
	}
	return grid, nil
}

// Validate fails when a side is not between 1 and [MaxSide].
func (g Grid) Validate() error {
	if g.Height < 1 || g.Width < 1 || g.Height > MaxSide || g.Width > MaxSide {
		return fmt.Errorf("grid of %s cells: each side must be 1 to %d", g, MaxSide)
	}
	return nil
}

// Cells is the number of cells, the length of a map on the grid.
func (g Grid) Cells() int { return g.Height * g.Width }

// String is HEIGHTxWIDTH, which [ParseGrid] reads back.
func (g Grid) String() string { return fmt.Sprintf("%dx%d", g.Height, g.Width) }
