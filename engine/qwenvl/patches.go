package qwenvl

import (
	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/reward"
)

// unitPatches is the number of patches that merge into one unit.
func (c VisionConfig) unitPatches() int { return c.SpatialMergeSize * c.SpatialMergeSize }

// patchPixels is the number of bytes of a patch: its pixels' channels.
func (c VisionConfig) patchPixels() int { return c.InChannels * c.PatchSize * c.PatchSize }

// patchValues is the number of values of a patch as the tower reads it: its pixels
// in every frame.
func (c VisionConfig) patchValues() int { return c.TemporalPatchSize * c.patchPixels() }

// windowed tells whether some blocks attend within windows.
func (c VisionConfig) windowed() bool { return c.WindowSize > 0 }

// Normalised makes of patches of pixels (P,size*size*3) uint8, row, column, channel,
// the processor's (P,values) float32: channel, frame, row, column. A still image is
// its own second frame. Values are normalised as the processor does it, in float32:
// (v - 255*mean) / (255*std).
func (v *Vision) Normalised(g *onnx.Graph) (out onnx.Value) {
	g.Scope("patches", func() {
		channels, area := onnx.N(int64(v.c.InChannels)), onnx.N(int64(v.c.PatchSize*v.c.PatchSize))
		x := g.Reshape(v.in[InputPixels], v.patches, area, channels)
		x = g.Cast(g.Transpose(x, 0, 2, 1), onnx.Float32)
		x = g.Reshape(x, v.patches, channels, onnx.N(1), area)

		var mean, std [3]float32
		for i := range mean {
			mean[i], std[i] = float32(v.p.Mean[i])*255, float32(v.p.Std[i])*255
		}
		x = g.Sub(x, onnx.Const(g, mean[:], 3, 1, 1))
		x = g.Div(x, onnx.Const(g, std[:], 3, 1, 1))
		frames := make([]onnx.Value, v.c.TemporalPatchSize)
		for i := range frames {
			frames[i] = x
		}
		x = g.Concat(2, onnx.Dim{}, frames...)
		out = g.Reshape(x, v.patches, onnx.N(int64(v.c.patchValues())))
	})
	return out
}

// cutUnit writes the pixels of the patches of one merged unit of image, row by
// row, to dst.
func (c VisionConfig) cutUnit(dst []uint8, image *reward.Image, row, col int) {
	line := c.PatchSize * c.InChannels
	for py := range c.SpatialMergeSize {
		for px := range c.SpatialMergeSize {
			top, left := (row*c.SpatialMergeSize+py)*c.PatchSize, (col*c.SpatialMergeSize+px)*c.PatchSize
			for y := range c.PatchSize {
				from := ((top+y)*image.Width + left) * c.InChannels
				copy(dst[:line], image.Pix[from:from+line])
				dst = dst[line:]
			}
		}
	}
}
