package qwenvl

import (
	"fmt"
	"slices"

	"github.com/denseflow/densereward/engine/onnx"
)

// visionNormEps is that of Qwen3-VL's LayerNorms.
const visionNormEps = 1e-6

// features3 is Qwen3-VL's tower: learned positions, interpolated to the image's grid,
// are added to the patches; every block attends to its whole image; the output of
// some blocks is merged as well, for the first layers of the language model
// [DeepStack, arXiv 2406.04334].
func (v *Vision) features3(g *onnx.Graph, patches onnx.Value) (out onnx.Value, deep []onnx.Value) {
	c := v.c
	weight := v.w.Tensor("visual.patch_embed.proj.weight", v.dtype, int64(c.HiddenSize), int64(c.InChannels),
		int64(c.TemporalPatchSize), int64(c.PatchSize), int64(c.PatchSize))
	weight = g.Reshape(weight, onnx.N(int64(c.HiddenSize)), onnx.N(int64(c.PatchValues())))
	bias := v.w.Tensor("visual.patch_embed.proj.bias", v.dtype, int64(c.HiddenSize))
	x := g.Add(g.Linear(g.Cast(patches, v.dtype), weight, bias), v.learnedPositions(g))

	for i := range c.Depth {
		g.Scope(fmt.Sprintf("blocks.%d", i), func() { x = v.block3(g, i, x) })
		if at := slices.Index(c.DeepstackBlocks, i); at >= 0 {
			deep = append(deep, v.merge3(g, x, fmt.Sprintf("visual.deepstack_merger_list.%d", at), true))
		}
	}
	return v.merge3(g, x, "visual.merger", false), deep
}

// learnedPositions (P,hidden) are those of the four corners around each patch on the
// square of learned ones, weighted.
func (v *Vision) learnedPositions(g *onnx.Graph) onnx.Value {
	side := int64(v.c.PositionsSide)
	table := v.w.Tensor("visual.pos_embed.weight", v.dtype, side*side, int64(v.c.HiddenSize))
	weights := g.Unsqueeze(g.Cast(v.in[InputCornerWeights], v.dtype), 2)
	return g.ReduceSum(g.Mul(g.Gather(table, v.in[InputCorners], 0), weights), 1, false)
}

func (v *Vision) block3(g *onnx.Graph, i int, x onnx.Value) onnx.Value {
	c, prefix := v.c, fmt.Sprintf("visual.blocks.%d", i)
	h := g.Rows(v.layerNorm(g, x, prefix+".norm1", c.HiddenSize), int64(3*c.HiddenSize))
	attended := v.attend(g, h, prefix+".attn.qkv", true)
	x = g.Add(x, v.w.Linear(g, attended, prefix+".attn.proj", c.HiddenSize, c.HiddenSize))
	inner := v.w.Linear(g, v.layerNorm(g, x, prefix+".norm2", c.HiddenSize), prefix+".mlp.linear_fc1", c.IntermediateSize, c.HiddenSize)
	return g.Add(x, v.w.Linear(g, g.GeluTanh(inner), prefix+".mlp.linear_fc2", c.HiddenSize, c.IntermediateSize))
}

// merge3 joins each unit's patches, projects them and puts the units back into raster
// order. The norm is of patches, or, if joined, of whole units.
func (v *Vision) merge3(g *onnx.Graph, x onnx.Value, prefix string, joined bool) onnx.Value {
	width := v.c.HiddenSize * v.c.UnitPatches()
	if !joined {
		x = v.layerNorm(g, x, prefix+".norm", v.c.HiddenSize)
	}
	x = g.Reshape(x, v.units, onnx.N(int64(width)))
	if joined {
		x = v.layerNorm(g, x, prefix+".norm", width)
	}
	x = g.Gelu(v.w.Linear(g, x, prefix+".linear_fc1", width, width))
	return g.Gather(v.w.Linear(g, x, prefix+".linear_fc2", v.c.OutHiddenSize, width), v.in[InputUnitOrder], 0)
}

func (v *Vision) layerNorm(g *onnx.Graph, x onnx.Value, prefix string, width int) onnx.Value {
	weight := v.w.Tensor(prefix+".weight", v.dtype, int64(width))
	return g.LayerNorm(x, weight, v.w.Tensor(prefix+".bias", v.dtype, int64(width)), visionNormEps)
}
