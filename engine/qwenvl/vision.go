package qwenvl

import (
	"fmt"
	"math"
	"slices"

	"github.com/denseflow/densereward/engine/initializers"
	"github.com/denseflow/densereward/engine/onnx"
)

// Constants of Qwen2.5-VL's vision tower that no configuration names.
const (
	visionRopeTheta  = 10000
	visionRMSNormEps = 1e-6
)

// innerAlign is what the inner width is filled up to a multiple of.
const innerAlign = 64

// Vision writes the vision tower into a graph: patches (B,P,patch) in the
// processor's merge order to image features (B,P/merge^2,out), in raster order
// of the merged grid. Blocks attend within windows, but for a few that see the
// whole image.
type Vision struct {
	w            *initializers.Set
	c            VisionConfig
	preprocessor PreprocessorConfig
	grid         int // patches a side
	dtype        onnx.DType

	order   []int64       // patch of each place in window order
	windows []windowGroup // runs of windows of one size, in that order

	cos, sin onnx.Value // of the rotary embedding
}

// windowGroup is count consecutive windows of size patches each.
type windowGroup struct{ count, size int64 }

// NewVision makes the tower of a configuration for images of its one size.
func NewVision(w *initializers.Set, config Config, dtype onnx.DType) *Vision {
	c, grid := config.Vision, config.PatchGrid()
	v := &Vision{w: w, c: c, preprocessor: config.Preprocessor, grid: grid, dtype: dtype}
	v.order, v.windows = windowOrder(grid/c.SpatialMergeSize, c.WindowSize/c.PatchSize/c.SpatialMergeSize, c.SpatialMergeSize*c.SpatialMergeSize)
	return v
}

// windowOrder sorts the patches of a merged grid of side units, each of patches
// consecutive patches, so that every window of side window lies together and
// windows of one size stand in a row. Windows at the right and lower edges may
// be smaller.
func windowOrder(units, window, patches int) (order []int64, groups []windowGroup) {
	bySize := map[int][][]int64{}
	for top := 0; top < units; top += window {
		for left := 0; left < units; left += window {
			var members []int64
			for y := top; y < min(top+window, units); y++ {
				for x := left; x < min(left+window, units); x++ {
					for p := range patches {
						members = append(members, int64((y*units+x)*patches+p))
					}
				}
			}
			bySize[len(members)] = append(bySize[len(members)], members)
		}
	}
	sizes := make([]int, 0, len(bySize))
	for size := range bySize {
		sizes = append(sizes, size)
	}
	slices.Sort(sizes)
	slices.Reverse(sizes)
	for _, size := range sizes {
		groups = append(groups, windowGroup{count: int64(len(bySize[size])), size: int64(size)})
		for _, members := range bySize[size] {
			order = append(order, members...)
		}
	}
	return order, groups
}

// rotary is the cosines and sines (P,width/2) of the two-dimensional rotary
// embedding for heads of size that stand side by side in width, row i for the
// patch order[i]: the first half of a head's row turns with the patch's row in
// the image, the second with its column.
func (v *Vision) rotary(size, width int) (cos, sin []float32) {
	freqs := size / 4
	merge := v.c.SpatialMergeSize
	for _, p := range v.order {
		unit, within := int(p)/(merge*merge), int(p)%(merge*merge)
		side := v.grid / merge
		row := unit/side*merge + within/merge
		col := unit%side*merge + within%merge
		for range width / size {
			for _, at := range []int{row, col} {
				for f := range freqs {
					inverse := float32(1 / math.Pow(visionRopeTheta, float64(4*f)/float64(size)))
					angle := float64(float32(at) * inverse)
					cos = append(cos, float32(math.Cos(angle)))
					sin = append(sin, float32(math.Sin(angle)))
				}
			}
		}
	}
	return cos, sin
}

// Features adds the tower to g.
func (v *Vision) Features(g *onnx.Graph, patches onnx.Value) (out onnx.Value) {
	g.Scope("visual", func() {
		c := v.c
		patch := c.InChannels * c.TemporalPatchSize * c.PatchSize * c.PatchSize
		weight := v.w.Tensor("visual.patch_embed.proj.weight", v.dtype, int64(c.HiddenSize), int64(c.InChannels),
			int64(c.TemporalPatchSize), int64(c.PatchSize), int64(c.PatchSize))
		weight = g.Reshape(weight, onnx.N(int64(c.HiddenSize)), onnx.N(int64(patch)))

		places := int64(len(v.order))
		x := g.Cast(g.Gather(patches, onnx.Const(g, v.order, places), 1), v.dtype)
		x = g.Linear(x, weight, onnx.Value{})

		size, width := c.HiddenSize/c.NumHeads, v.rotaryWidth()
		cosines, sines := v.rotary(size, width)
		v.cos = g.Cast(onnx.Const(g, cosines, places, int64(width/2)), v.dtype)
		v.sin = g.Cast(onnx.Const(g, sines, places, int64(width/2)), v.dtype)
		var branch onnx.Value
		for i := range c.Depth {
			g.Scope(fmt.Sprintf("blocks.%d", i), func() { x, branch = v.block(g, i, x, branch) })
		}
		out = v.merge(g, x, branch)
	})
	return out
}

// block is one transformer block. What the block before it added to the
// residual stream is still to be added to x, as is its bias, so that additions
// and norm fuse; branch is absent before the first block.
func (v *Vision) block(g *onnx.Graph, i int, x, branch onnx.Value) (sum, next onnx.Value) {
	c, prefix := v.c, fmt.Sprintf("visual.blocks.%d", i)
	norm1 := v.w.Tensor(prefix+".norm1.weight", v.dtype, int64(c.HiddenSize))
	norm2 := v.w.Tensor(prefix+".norm2.weight", v.dtype, int64(c.HiddenSize))

	var h onnx.Value
	if branch.Valid() {
		h, x = g.SkipRMSNorm(x, branch, norm1, v.downBias(i-1), visionRMSNormEps)
	} else {
		h = g.RMSNorm(x, norm1, visionRMSNormEps)
	}
	query, key, value := v.queries(g, h, prefix+".attn.qkv")
	groups := v.windows
	if slices.Contains(c.FullAttentionBlocks, i) {
		groups = []windowGroup{{1, int64(len(v.order))}}
	}
	attended := v.attend(g, query, key, value, groups)
	attended = v.w.LinearNoBias(g, attended, prefix+".attn.proj", c.HiddenSize, c.HiddenSize)

	bias := v.w.Tensor(prefix+".attn.proj.bias", v.dtype, int64(c.HiddenSize))
	h, x = g.SkipRMSNorm(x, attended, norm2, bias, visionRMSNormEps)
	return x, v.mlp(g, h, prefix+".mlp.")
}

// rotaryWidth is the width of what is rotated as one head: as many heads as fit
// into a block of threads of a GPU, which has little to do for a single one.
func (v *Vision) rotaryWidth() int {
	const most = 1024
	size, heads := v.c.HiddenSize/v.c.NumHeads, v.c.NumHeads
	for heads*size > most && heads%2 == 0 {
		heads /= 2
	}
	return heads * size
}

// queries is the rotated queries and keys and the values of h. The elements of
// each head's queries and keys are put in an order in which the pairs that turn
// against each other are neighbours: several heads can then be rotated as one,
// and their products are the same.
func (v *Vision) queries(g *onnx.Graph, h onnx.Value, prefix string) (query, key, value onnx.Value) {
	hidden := v.c.HiddenSize
	size := hidden / v.c.NumHeads
	paired := make([]int64, hidden)
	plain := make([]int64, hidden)
	for i := range paired {
		head, at := i/size*size, i%size
		paired[i] = int64(head + at/2 + at%2*(size/2))
		plain[i] = int64(i)
	}
	weight := v.w.Tensor(prefix+".weight", v.dtype, int64(3*hidden), int64(hidden))
	bias := v.w.Tensor(prefix+".bias", v.dtype, int64(3*hidden))
	third := func(n int, order []int64) onnx.Value {
		rows := make([]int64, hidden)
		for i, r := range order {
			rows[i] = int64(n*hidden) + r
		}
		pick := func(x onnx.Value) onnx.Value {
			return v.w.Once(fmt.Sprintf("third %d of %s", n, x.Name()), func(top *onnx.Graph) onnx.Value {
				return top.Gather(x, onnx.Const(top, rows, int64(hidden)), 0)
			})
		}
		return g.Linear(h, pick(weight), pick(bias))
	}
	start, heads := onnx.Const(g, []int64{0}, 1), int64(hidden/v.rotaryWidth())
	query = g.RotaryEmbedding(third(0, paired), start, v.cos, v.sin, heads, true)
	key = g.RotaryEmbedding(third(1, paired), start, v.cos, v.sin, heads, true)
	return query, key, third(2, plain)
}

// downBias is the bias of block i's last layer.
func (v *Vision) downBias(i int) onnx.Value {
	return v.w.Tensor(fmt.Sprintf("visual.blocks.%d.mlp.down_proj.bias", i), v.dtype, int64(v.c.HiddenSize))
}

// mlp is the block's SwiGLU without its last bias. The inner width of the
// released model, 3420, is no multiple of 8, for which matrix products on a GPU
// take twice as long: it is filled up with zeros, which change nothing.
func (v *Vision) mlp(g *onnx.Graph, h onnx.Value, prefix string) onnx.Value {
	c := v.c
	hidden, inner := int64(c.HiddenSize), int64(c.IntermediateSize)
	fill := -inner & (innerAlign - 1)
	grow := func(x onnx.Value, axis int, sizes ...int64) onnx.Value {
		if fill == 0 || v.dtype == onnx.Float32 {
			return x
		}
		return v.w.Once("grown "+x.Name(), func(top *onnx.Graph) onnx.Value {
			return top.Concat(axis, onnx.Dim{}, x, top.Zeros(v.dtype, sizes...))
		})
	}
	gated := func(name string) onnx.Value {
		weight := grow(v.w.Tensor(prefix+name+".weight", v.dtype, inner, hidden), 0, fill, hidden)
		return g.Linear(h, weight, grow(v.w.Tensor(prefix+name+".bias", v.dtype, inner), 0, fill))
	}
	product := g.Mul(g.Silu(gated("gate_proj")), gated("up_proj"))
	down := grow(v.w.Tensor(prefix+"down_proj.weight", v.dtype, hidden, inner), 1, hidden, fill)
	return g.Linear(product, down, onnx.Value{})
}

// attend is attention within the windows of groups: windows of one size are
// the rows of one batch, so nothing is padded and nothing masked.
func (v *Vision) attend(g *onnx.Graph, query, key, value onnx.Value, groups []windowGroup) onnx.Value {
	heads, width, batch := int64(v.c.NumHeads), query.Dim(-1), query.Dim(0)
	if len(groups) == 1 && groups[0].count == 1 {
		return g.MultiHeadAttention(query, key, value, heads, 0)
	}
	sizes := make([]int64, len(groups))
	for i, w := range groups {
		sizes[i] = w.count * w.size
	}
	parts := make([][]onnx.Value, 3)
	for i, x := range []onnx.Value{query, key, value} {
		parts[i] = g.Split(x, 1, sizes...)
	}
	outs := make([]onnx.Value, len(groups))
	for i, w := range groups {
		row := func(x onnx.Value) onnx.Value {
			return g.Reshape(x, batch.Times(onnx.N(w.count)), onnx.N(w.size), width)
		}
		out := g.MultiHeadAttention(row(parts[0][i]), row(parts[1][i]), row(parts[2][i]), heads, 0)
		outs[i] = g.Reshape(out, batch, onnx.N(sizes[i]), width)
	}
	return g.Concat(1, onnx.Dim{}, outs...)
}

// merge joins each unit's patches, projects them to the language model's width
// and puts the units back into raster order.
func (v *Vision) merge(g *onnx.Graph, x, branch onnx.Value) onnx.Value {
	c := v.c
	patches := c.SpatialMergeSize * c.SpatialMergeSize
	joined := c.HiddenSize * patches
	units := int64(len(v.order) / patches)
	norm := v.w.Tensor("visual.merger.ln_q.weight", v.dtype, int64(c.HiddenSize))
	x, _ = g.SkipRMSNorm(x, branch, norm, v.downBias(c.Depth-1), visionRMSNormEps)
	x = g.Reshape(x, x.Dim(0), onnx.N(units), onnx.N(int64(joined)))
	x = g.Gelu(v.w.Linear(g, x, "visual.merger.mlp.0", joined, joined))
	x = v.w.Linear(g, x, "visual.merger.mlp.2", c.OutHiddenSize, joined)
	back := make([]int64, units)
	for place := range back {
		back[v.order[place*patches]/int64(patches)] = int64(place)
	}
	return g.Gather(x, onnx.Const(g, back, units), 1)
}
