package clip

import (
	"fmt"

	"github.com/denseflow/densereward/engine/onnx"
)

// Names of the graphs' inputs and outputs. B is the batch, L the longest text, D
// the width of the common space.
const (
	inputTokens = "token_ids" // (B,L) int64
	inputEnds   = "ends"      // (B) int64: the place of each text's end among the B*L
	inputImages = "images"    // (B,side,side,3) uint8

	outputEmbedding = "embedding" // (B,D) float32, of any length
	outputPatches   = "patches"   // (B,grid*grid,D) float32, of any length
)

// tower writes a transformer.
type tower struct {
	name   towerName
	c      Tower
	w      tensors
	causal bool
}

// blocks adds the tower's blocks to g: x is (B,L,hidden).
func (t tower) blocks(g *onnx.Graph, x onnx.Value) onnx.Value {
	for i := range t.c.Layers {
		g.Scope(fmt.Sprintf("blocks.%d", i), func() { x = t.block(g, t.w.block(t.name, i), x) })
	}
	return x
}

func (t tower) block(g *onnx.Graph, w blockTensors, x onnx.Value) onnx.Value {
	hidden, inner := t.c.HiddenSize, t.c.IntermediateSize
	x = g.Add(x, t.attention(g, w, t.norm(g, x, w, false)))

	weight, bias := w.mlp(false, inner, hidden)
	h := g.Linear(t.norm(g, x, w, true), weight, bias)
	if t.c.Activation == "gelu" {
		h = g.Gelu(h)
	} else {
		h = g.QuickGelu(h)
	}
	weight, bias = w.mlp(true, hidden, inner)
	return g.Add(x, g.Linear(h, weight, bias))
}

func (t tower) norm(g *onnx.Graph, x onnx.Value, w blockTensors, second bool) onnx.Value {
	weight, bias := w.norm(second, t.c.HiddenSize)
	return g.LayerNorm(x, weight, bias, float32(t.c.LayerNormEps))
}

func (t tower) attention(g *onnx.Graph, w blockTensors, x onnx.Value) onnx.Value {
	project := func(part attentionPart, x onnx.Value) onnx.Value {
		weight, bias := w.attention(part, t.c.HiddenSize)
		if t.causal { // both outer dimensions are symbols, which Linear knows to take apart
			return g.Add(g.Linear(x, weight, onnx.Value{}), bias)
		}
		return g.Linear(x, weight, bias)
	}
	query, key, value := project(queryPart, x), project(keyPart, x), project(valuePart, x)
	heads := int64(t.c.Heads)
	if t.causal {
		return project(outPart, g.CausalAttention(query, key, value, heads))
	}
	return project(outPart, g.MultiHeadAttention(query, key, value, heads, 0))
}

// textGraph writes the text tower into g.
func textGraph(g *onnx.Graph, c Config, w tensors) {
	hidden := c.Text.HiddenSize
	batch, length := onnx.Sym("batch"), onnx.Sym("length")
	ids := g.Input(inputTokens, onnx.Int64, onnx.Shape{batch, length})
	ends := g.Input(inputEnds, onnx.Int64, onnx.Shape{batch})
	var out onnx.Value
	g.Scope("text", func() {
		x := g.Gather(w.table(tokenEmbedding, c.VocabSize, hidden), ids, 0)
		places := g.Range(g.Squeeze(g.SizeOf(ids, 1), 0), length)
		x = g.Add(x, g.Gather(w.table(textPositions, c.Positions, hidden), places, 0))
		x = tower{textTower, c.Text, w, true}.blocks(g, x)

		flat := g.Reshape(x, batch.Times(length), onnx.N(int64(hidden)))
		x = g.Gather(flat, ends, 0)
		x = g.LayerNorm(x, w.vector(textNormWeight, hidden), w.vector(textNormBias, hidden), float32(c.Text.LayerNormEps))
		out = g.Linear(x, w.table(textProjection, c.ProjectionDim, hidden), onnx.Value{})
	})
	g.Output(outputEmbedding, g.Cast(out, onnx.Float32))
}

// imageGraph writes the vision tower into g; patches adds what its patches come to.
func imageGraph(g *onnx.Graph, c Config, w tensors, p *Preprocessor, dtype onnx.DType, patches bool) {
	side, hidden := int64(c.ImageSize), c.Vision.HiddenSize
	batch := onnx.Sym("batch")
	images := g.Input(inputImages, onnx.Uint8, onnx.Shape{batch, onnx.N(side), onnx.N(side), onnx.N(3)})
	var out, rest onnx.Value
	g.Scope("vision", func() {
		x := embedPatches(g, c, w, normalize(g, images, p, dtype))
		x = g.LayerNorm(x, w.vector(preNormWeight, hidden), w.vector(preNormBias, hidden), float32(c.Vision.LayerNormEps))
		x = tower{visionTower, c.Vision, w, false}.blocks(g, x)

		weight, bias := w.vector(postNormWeight, hidden), w.vector(postNormBias, hidden)
		projection := w.table(visualProjection, c.ProjectionDim, hidden)
		project := func(x onnx.Value) onnx.Value {
			return g.Linear(g.LayerNorm(x, weight, bias, float32(c.Vision.LayerNormEps)), projection, onnx.Value{})
		}
		out = project(g.Squeeze(g.Slice(x, 1, 0, 1), 1)) // the class token
		if patches {
			rest = project(g.Slice(x, 1, 1, int64(1+c.Grid()*c.Grid())))
		}
	})
	g.Output(outputEmbedding, g.Cast(out, onnx.Float32))
	if patches {
		g.Output(outputPatches, g.Cast(rest, onnx.Float32))
	}
}

// normalize is (v/255 - mean) / std of images (B,side,side,3), in float32 and then
// dtype.
func normalize(g *onnx.Graph, images onnx.Value, p *Preprocessor, dtype onnx.DType) onnx.Value {
	x := g.Div(g.Cast(images, onnx.Float32), onnx.Scalar(g, float32(255)))
	x = g.Div(g.Sub(x, onnx.Const(g, p.mean[:], 3)), onnx.Const(g, p.std[:], 3))
	return g.Cast(x, dtype)
}

// embedPatches makes tokens (B,1+grid*grid,hidden) of images (B,side,side,3): the
// class embedding, then the patches row by row, with their positions. Pixels beyond
// the last whole patch are dropped, as a convolution of that stride drops them.
func embedPatches(g *onnx.Graph, c Config, w tensors, x onnx.Value) onnx.Value {
	batch, hidden := x.Dim(0), int64(c.Vision.HiddenSize)
	grid, patch := int64(c.Grid()), int64(c.PatchSize)
	if used := grid * patch; used != int64(c.ImageSize) {
		x = g.Slice(g.Slice(x, 1, 0, used), 2, 0, used)
	}
	x = g.Reshape(x, batch, onnx.N(grid), onnx.N(patch), onnx.N(grid), onnx.N(patch), onnx.N(3))
	x = g.Reshape(g.Transpose(x, 0, 1, 3, 5, 2, 4), batch, onnx.N(grid*grid), onnx.N(3*patch*patch))
	weight := g.Reshape(w.patches(int(hidden), int(patch)), onnx.N(hidden), onnx.N(3*patch*patch))
	x = g.Linear(x, weight, onnx.Value{})

	class := g.Reshape(w.vector(classEmbedding, int(hidden)), onnx.N(1), onnx.N(1), onnx.N(hidden))
	sizes := g.Concat(0, onnx.N(3), g.SizeOf(x, 0), onnx.Const(g, []int64{1, hidden}, 2))
	first := g.Expand(class, sizes, batch, onnx.N(1), onnx.N(hidden))
	x = g.Concat(1, onnx.Dim{}, first, x)
	return g.Add(x, w.table(visionPositions, int(grid*grid+1), int(hidden)))
}
