package checkpoint

import "github.com/denseflow/densereward/reward"

// Grid is the size of a resized image in merged units: rows and columns.
type Grid struct{ Rows, Cols int }

// Units is the number of image tokens of the grid.
func (g Grid) Units() int { return g.Rows * g.Cols }

// Grid is the size in merged units of an image whose sides SmartResize chose.
func (c Config) Grid(image *reward.Image) Grid {
	unit := c.UnitPixels()
	return Grid{Rows: image.Height / unit, Cols: image.Width / unit}
}

// UnitPixels is the side of a merged unit in pixels.
func (c Config) UnitPixels() int { return c.Vision.PatchSize * c.Vision.SpatialMergeSize }

// UnitPatches is the number of patches that merge into one unit.
func (v VisionConfig) UnitPatches() int { return v.SpatialMergeSize * v.SpatialMergeSize }

// PatchPixels is the number of bytes of a patch: its pixels' channels.
func (v VisionConfig) PatchPixels() int { return v.InChannels * v.PatchSize * v.PatchSize }

// PatchValues is the number of values of a patch as the tower reads it: its pixels
// in every frame.
func (v VisionConfig) PatchValues() int { return v.TemporalPatchSize * v.PatchPixels() }

// Windowed tells whether some blocks attend within windows.
func (v VisionConfig) Windowed() bool { return v.WindowSize > 0 }

// CutUnit writes the pixels of the patches of one merged unit of image, row by
// row, to dst, which takes UnitPatches x PatchPixels bytes.
func (v VisionConfig) CutUnit(dst []uint8, image *reward.Image, row, col int) {
	line := v.PatchSize * v.InChannels
	for py := range v.SpatialMergeSize {
		for px := range v.SpatialMergeSize {
			top, left := (row*v.SpatialMergeSize+py)*v.PatchSize, (col*v.SpatialMergeSize+px)*v.PatchSize
			for y := range v.PatchSize {
				from := ((top+y)*image.Width + left) * v.InChannels
				copy(dst[:line], image.Pix[from:from+line])
				dst = dst[line:]
			}
		}
	}
}
