package qwenvl

import (
	"fmt"
	"slices"

	"github.com/denseflow/densereward/engine/onnx"
)

// visionRMSNormEps is that of Qwen2.5-VL's tower, which no configuration names.
const visionRMSNormEps = 1e-6

// innerAlign is what the inner width is filled up to a multiple of.
const innerAlign = 64

// features25 is Qwen2.5-VL's tower.
func (v *Vision) features25(g *onnx.Graph, patches onnx.Value) onnx.Value {
	c := v.c
	weight := v.w.Tensor("visual.patch_embed.proj.weight", v.dtype, int64(c.HiddenSize), int64(c.InChannels),
		int64(c.TemporalPatchSize), int64(c.PatchSize), int64(c.PatchSize))
	weight = g.Reshape(weight, onnx.N(int64(c.HiddenSize)), onnx.N(int64(c.PatchValues())))
	x := g.Linear(g.Cast(patches, v.dtype), weight, onnx.Value{})
	var branch onnx.Value
	for i := range c.Depth {
		g.Scope(fmt.Sprintf("blocks.%d", i), func() { x, branch = v.block(g, i, x, branch) })
	}
	return v.merge(g, x, branch)
}

// block is one transformer block. What the block before it added to the
// residual stream is still to be added to x, as is its bias, so that additions
// and norm fuse; branch is absent before the first block.
func (v *Vision) block(g *onnx.Graph, i int, x, branch onnx.Value) (sum, next onnx.Value) {
	c, prefix := v.c, fmt.Sprintf("visual.blocks.%d", i)
	norm1 := v.w.Tensor(prefix+".norm1.weight", v.dtype, int64(c.HiddenSize))
	norm2 := v.w.Tensor(prefix+".norm2.weight", v.dtype, int64(c.HiddenSize))

	hidden := int64(c.HiddenSize)
	var before onnx.Value
	if branch.Valid() {
		before = v.downBias(i - 1)
	}
	h, x := g.NormedRows(x, branch, norm1, before, visionRMSNormEps, 3*hidden)
	attended := v.attend(g, h, prefix+".attn.qkv", slices.Contains(c.FullAttentionBlocks, i))
	attended = g.Times(g.Rows(attended, hidden), v.w.Tensor(prefix+".attn.proj.weight", v.dtype, hidden, hidden))

	bias := v.w.Tensor(prefix+".attn.proj.bias", v.dtype, hidden)
	h, x = g.NormedRows(x, attended, norm2, bias, visionRMSNormEps, 2*v.inner())
	return x, v.mlp(g, h, prefix+".mlp.")
}

// downBias is the bias of block i's last layer.
func (v *Vision) downBias(i int) onnx.Value {
	return v.w.Tensor(fmt.Sprintf("visual.blocks.%d.mlp.down_proj.bias", i), v.dtype, int64(v.c.HiddenSize))
}

// mlp is the block's SwiGLU without its last bias. The inner width of the
// released model, 3420, is no multiple of 8, for which matrix products on a GPU
// take twice as long: it is filled up with zeros, which change nothing.
func (v *Vision) mlp(g *onnx.Graph, h onnx.Rows, prefix string) onnx.Value {
	c := v.c
	hidden, inner := int64(c.HiddenSize), int64(c.IntermediateSize)
	fill := v.inner() - inner
	grow := func(x onnx.Value, axis int, sizes ...int64) onnx.Value {
		if fill == 0 {
			return x
		}
		return v.w.Once("grown "+x.Name(), func(top *onnx.Graph) onnx.Value {
			return top.Concat(axis, onnx.Dim{}, x, top.Zeros(v.dtype, sizes...))
		})
	}
	gated := func(name string) (weight, bias onnx.Value) {
		weight = grow(v.w.Tensor(prefix+name+".weight", v.dtype, inner, hidden), 0, fill, hidden)
		return weight, grow(v.w.Tensor(prefix+name+".bias", v.dtype, inner), 0, fill)
	}
	gate, gateBias := gated("gate_proj")
	up, upBias := gated("up_proj")
	product := g.GatedLinear(h, gate, up, gateBias, upBias, hidden)
	down := grow(v.w.Tensor(prefix+"down_proj.weight", v.dtype, hidden, inner), 1, hidden, fill)
	return g.Times(product, down)
}

// inner is the inner width as the graph has it.
func (v *Vision) inner() int64 {
	inner := int64(v.c.IntermediateSize)
	if v.dtype == onnx.Float32 {
		return inner
	}
	return inner + -inner&(innerAlign-1)
}

// merge joins each unit's patches, projects them to the language model's width
// and puts the units back into raster order.
func (v *Vision) merge(g *onnx.Graph, x, branch onnx.Value) onnx.Value {
	c := v.c
	joined := c.HiddenSize * c.UnitPatches()
	norm := v.w.Tensor("visual.merger.ln_q.weight", v.dtype, int64(c.HiddenSize))
	x, _ = g.SkipRMSNorm(x, branch, norm, v.downBias(c.Depth-1), visionRMSNormEps)
	x = g.Reshape(x, v.units, onnx.N(int64(joined)))
	x = g.Gelu(v.w.Linear(g, x, "visual.merger.mlp.0", joined, joined))
	x = v.w.Linear(g, x, "visual.merger.mlp.2", c.OutHiddenSize, joined)
	return g.Gather(x, v.in[InputUnitOrder], 0)
}
