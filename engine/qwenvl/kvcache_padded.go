package qwenvl

import (
	"math"

	"github.com/denseflow/densereward/engine/onnx"
)

// paddedCache keeps keys and values in one tensor each a layer, over rows padded
// to one length, which grow by the window with every step; a mask tells which
// places hold a token. It is written in plain operators and runs everywhere, in
// any precision: what the faster caches are held against.
type paddedCache struct {
	e       *Graph
	present []onnx.Value // after the prompt: the mask (B,P) bool, then keys and values of each layer in turn
}

var _ cache = (*paddedCache)(nil)

func (p *paddedCache) prompt(g *onnx.Graph, run runLayers) (sum, branch onnx.Value) {
	e := p.e
	longest, places := e.in[InputLongest], e.longest
	index := g.Range(longest, places)
	filled := g.Less(g.Unsqueeze(index, 0), g.Unsqueeze(e.in[InputLengths], 1)) // (B,S)
	causal := g.Less(g.Unsqueeze(index, 0), g.Unsqueeze(g.Add(index, onnx.Scalar(g, int64(1))), 1))
	a := &paddedAttention{
		paddedCache: p, g: g,
		pad: e.in[InputPad], pack: e.in[InputPack],
		rows: g.Expand(g.Unsqueeze(index, 0), g.ShapeOf(e.in[InputPad]), e.Batch, places),
		mask: g.And(g.Unsqueeze(filled, 1), g.Unsqueeze(causal, 0)),
	}
	a.places = places
	sum, branch = run(a)
	p.present = append([]onnx.Value{filled}, a.present...)
	return sum, branch
}

func (p *paddedCache) carried(g *onnx.Graph) ([]onnx.Value, []onnx.Shape) {
	past := g.NewSym("past")
	shapes := make([]onnx.Shape, len(p.present))
	for i, v := range p.present {
		shapes[i] = append(onnx.Shape(nil), v.Shape()...)
		if i == 0 {
			shapes[i][1] = past
		} else {
			shapes[i][2] = past
		}
	}
	return p.present, shapes
}

func (p *paddedCache) step(g *onnx.Graph, w window, state []onnx.Value, run runLayers) (sum, branch onnx.Value, next func(onnx.Value) []onnx.Value) {
	filled, past := state[0], state[1:]
	index := g.Range(w.size, w.dim)
	total := g.NewSym("present")

	// Query j sees what is filled, and the window's tokens up to itself.
	before := g.Unsqueeze(filled, 1)
	causal := g.Less(g.Unsqueeze(index, 0), g.Unsqueeze(g.Add(index, onnx.Scalar(g, int64(1))), 1))
	batch, past1, size := g.SizeOf(filled, 0), g.SizeOf(filled, 1), g.Unsqueeze(w.size, 0)
	before = g.Expand(before, g.Concat(0, onnx.Dim{}, batch, size, past1), filled.Dim(0), w.dim, filled.Dim(1))
	within := g.Expand(g.Unsqueeze(causal, 0), g.Concat(0, onnx.Dim{}, batch, size, size), filled.Dim(0), w.dim, w.dim)

	positions := g.Add(g.Unsqueeze(g.Cast(w.past, onnx.Int64), 1), g.Unsqueeze(index, 0)) // (B,window)
	a := &paddedAttention{
		paddedCache: p, g: g, past: past, places: total, batch: filled.Dim(0), window: w.dim,
		sizes: g.Concat(0, onnx.Dim{}, batch, size, onnx.Const(g, []int64{-1}, 1)),
		rows:  positions,
		mask:  g.Concat(2, total, before, within),
	}
	sum, branch = run(a)
	return sum, branch, func(kept onnx.Value) []onnx.Value {
		return append([]onnx.Value{g.Concat(1, total, filled, kept)}, a.present...)
	}
}

// paddedAttention is attention written out.
type paddedAttention struct {
	*paddedCache
	g *onnx.Graph

	pad, pack     onnx.Value // for the prompt: (B,S) token of each place, (T) place of each token
	sizes         onnx.Value // for steps: B, window, -1
	batch, window onnx.Dim   // for steps

	rows   onnx.Value // (B,S) row of each token in the rope's table
	mask   onnx.Value // (B,S,P) bool: which keys a query sees
	places onnx.Dim   // P

	past    []onnx.Value
	present []onnx.Value
}

func (a *paddedAttention) attend(i int, qkv onnx.Value) onnx.Value {
	g, c := a.g, a.e.c
	heads, kvHeads, size := int64(c.NumHeads), int64(c.NumKVHeads), int64(c.HeadDim)
	parts := g.Split(a.spread(qkv), -1, heads*size, kvHeads*size, kvHeads*size)
	rotate := func(x onnx.Value, heads int64) onnx.Value {
		return g.RotaryEmbedding(x, a.rows, a.e.rope.cos, a.e.rope.sin, heads, false)
	}
	query := rotate(parts[0], heads)
	key := a.heads(rotate(parts[1], kvHeads))
	value := a.heads(parts[2])
	if a.past != nil {
		key = g.Concat(2, a.places, a.past[2*i], key)
		value = g.Concat(2, a.places, a.past[2*i+1], value)
	}
	a.present = append(a.present, key, value)

	rows, tokens, group := query.Dim(0), query.Dim(1), onnx.N(heads/kvHeads)
	query = g.Reshape(query, rows, tokens, onnx.N(kvHeads), group, onnx.N(size))
	query = g.Transpose(query, 0, 2, 3, 1, 4)
	scores := g.MatMulT(query, g.Unsqueeze(key, 2), float32(1/math.Sqrt(float64(size))))
	hidden := g.Cast(onnx.Scalar(g, float32(-math.MaxFloat32/2)), scores.DType())
	scores = g.Softmax(g.Where(g.Unsqueeze(a.mask, 1, 2), scores, hidden), -1)
	out := g.Transpose(g.MatMul(scores, g.Unsqueeze(value, 2)), 0, 3, 1, 2, 4)
	return a.collect(g.Reshape(out, rows, tokens, onnx.N(heads*size)))
}

// spread is the packed x (T,width) as (B,S,width).
func (a *paddedAttention) spread(x onnx.Value) onnx.Value {
	if a.pad.Valid() {
		return a.g.Gather(x, a.pad, 0)
	}
	return a.g.ReshapeLike(x, a.sizes, a.batch, a.window, x.Dim(1))
}

// heads is x (B,S,kvHeads*size) as (B,kvHeads,S,size).
func (a *paddedAttention) heads(x onnx.Value) onnx.Value {
	x = a.g.Reshape(x, x.Dim(0), x.Dim(1), onnx.N(int64(a.e.c.NumKVHeads)), onnx.N(int64(a.e.c.HeadDim)))
	return a.g.Transpose(x, 0, 2, 1, 3)
}

// collect is the padded x (B,S,width) as (T,width).
func (a *paddedAttention) collect(x onnx.Value) onnx.Value {
	flat := a.g.Reshape(x, x.Dim(0).Times(x.Dim(1)), x.Dim(2))
	if a.pad.Valid() {
		return a.g.Gather(flat, a.pack, 0)
	}
	return flat
}
