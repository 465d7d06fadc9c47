package qwenvl

import "github.com/denseflow/densereward/engine/onnx"

// Patchify cuts images (B,side,side,3) uint8 into the processor's patches
// (B,P,patch) float32: units of merge x merge patches row by row, and row by row
// within a unit; channel, frame, row, column within a patch. A still image is
// its own second frame. Values are normalised as the processor does it, in
// float32: (v - 255*mean) / (255*std).
func (v *Vision) Patchify(g *onnx.Graph, images onnx.Value) (out onnx.Value) {
	g.Scope("patches", func() {
		batch, merge, size := images.Dim(0), int64(v.c.SpatialMergeSize), int64(v.c.PatchSize)
		units, channels := int64(v.grid)/merge, int64(v.c.InChannels)
		places, area := int64(v.grid*v.grid), size*size

		x := g.Reshape(images, batch, onnx.N(units), onnx.N(merge), onnx.N(size),
			onnx.N(units), onnx.N(merge), onnx.N(size), onnx.N(channels))
		x = g.Transpose(x, 0, 1, 4, 2, 5, 7, 3, 6)
		x = g.Cast(g.Reshape(x, batch, onnx.N(places), onnx.N(channels), onnx.N(1), onnx.N(area)), onnx.Float32)

		var mean, std [3]float32
		for i := range mean {
			mean[i], std[i] = float32(v.preprocessor.Mean[i])*255, float32(v.preprocessor.Std[i])*255
		}
		x = g.Sub(x, onnx.Const(g, mean[:], 3, 1, 1))
		x = g.Div(x, onnx.Const(g, std[:], 3, 1, 1))
		frames := make([]onnx.Value, v.c.TemporalPatchSize)
		for i := range frames {
			frames[i] = x
		}
		x = g.Concat(3, onnx.Dim{}, frames...)
		out = g.Reshape(x, batch, onnx.N(places), onnx.N(channels*int64(len(frames))*area))
	})
	return out
}
