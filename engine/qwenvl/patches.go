package qwenvl

import "github.com/denseflow/densereward/engine/onnx"

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
		out = g.Reshape(x, v.patches, onnx.N(int64(v.c.PatchValues())))
	})
	return out
}
