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

// blockTokens is how many queries of every row attend at a time in a prompt, which
// bounds the scores in memory to so many for each key.
const blockTokens = 128

func (p *paddedCache) prompt(g *onnx.Graph, run runLayers) (sum, branch onnx.Value) {
	e := p.e
	index := g.Range(e.in[InputLongest], e.longest)
	a := &promptAttention{paddedAttention: paddedAttention{paddedCache: p, g: g, places: e.longest}, index: index}
	e.room = p.grow(g, 0)
	sum, branch = run(a)
	filled := g.Less(g.Unsqueeze(index, 0), g.Unsqueeze(e.in[InputLengths], 1)) // (B,S)
	p.present = append([]onnx.Value{filled}, a.present...)
	return sum, branch
}

// grow makes no room: rows grow with every step.
func (p *paddedCache) grow(g *onnx.Graph, level int) onnx.Value { return p.e.roomOf(g, level) }

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

	a := &stepAttention{
		paddedAttention: paddedAttention{paddedCache: p, g: g, places: total},
		past:            past, batch: filled.Dim(0), window: w.dim,
		sizes: g.Concat(0, onnx.Dim{}, batch, size, onnx.Const(g, []int64{-1}, 1)),
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
	g       *onnx.Graph
	places  onnx.Dim // keys of a row
	present []onnx.Value
}

// grouped is queries (B,S,heads*size) as (B,kvHeads,group,S,size).
func (a *paddedAttention) grouped(x onnx.Value) onnx.Value {
	c := a.e.c
	x = a.g.Reshape(x, x.Dim(0), x.Dim(1), onnx.N(int64(c.NumKVHeads)), onnx.N(int64(c.NumHeads/c.NumKVHeads)), onnx.N(int64(c.HeadDim)))
	return a.g.Transpose(x, 0, 2, 3, 1, 4)
}

// heads is x (B,S,kvHeads*size) as (B,kvHeads,S,size).
func (a *paddedAttention) heads(x onnx.Value) onnx.Value {
	x = a.g.Reshape(x, x.Dim(0), x.Dim(1), onnx.N(int64(a.e.c.NumKVHeads)), onnx.N(int64(a.e.c.HeadDim)))
	return a.g.Transpose(x, 0, 2, 1, 3)
}

// masked is attention of queries (B,kvHeads,group,q,size) to keys and values
// (B,kvHeads,k,size), where mask (B or 1,q,k) allows it. The result is shaped as
// the queries.
func (a *paddedAttention) masked(g *onnx.Graph, query, key, value, mask onnx.Value) onnx.Value {
	scores := g.MatMulT(query, g.Unsqueeze(key, 2), float32(1/math.Sqrt(float64(a.e.c.HeadDim))))
	hidden := g.Cast(onnx.Scalar(g, float32(-math.MaxFloat32/2)), scores.DType())
	scores = g.Softmax(g.Where(g.Unsqueeze(mask, 1, 2), scores, hidden), -1)
	return g.MatMul(scores, g.Unsqueeze(value, 2))
}

// ungrouped is the queries' shape (B,kvHeads,group,S,size) as (B*S,heads*size).
func (a *paddedAttention) ungrouped(x onnx.Value) onnx.Value {
	c := a.e.c
	width := onnx.N(int64(c.NumHeads * c.HeadDim))
	x = a.g.Transpose(x, 0, 3, 1, 2, 4)
	return a.g.Reshape(a.g.Reshape(x, x.Dim(0), x.Dim(1), width), x.Dim(0).Times(x.Dim(1)), width)
}

// promptAttention is causal attention within prompts, block by block of queries.
// Padding stands behind every row's tokens, where none of them sees it.
type promptAttention struct {
	paddedAttention
	index onnx.Value // (S) int64: 0, 1, ...
}

func (a *promptAttention) attend(_ int, query, key, value onnx.Value) onnx.Value {
	g, e := a.g, a.e
	spread := func(x onnx.Value) onnx.Value { return g.Gather(x, e.in[InputPad], 0) }
	query, key, value = a.grouped(spread(query)), a.heads(spread(key)), a.heads(spread(value))
	a.present = append(a.present, key, value)

	longest, block := e.in[InputLongest], onnx.Scalar(g, int64(blockTokens))
	blocks := g.Div(g.Add(longest, onnx.Scalar(g, int64(blockTokens-1))), block)
	done, sizes := g.NewSym("attended"), query.Shape()
	empty := g.SliceTo(query, 3, onnx.Const(g, []int64{0}, 1), onnx.Const(g, []int64{0}, 1), onnx.N(0))
	out := g.Loop(blocks, onnx.Scalar(g, true), []onnx.Value{empty},
		[]onnx.Shape{{sizes[0], sizes[1], sizes[2], done, sizes[4]}}, onnx.Dim{},
		func(b *onnx.Graph, turn onnx.Value, carried []onnx.Value) (again onnx.Value, next, collected []onnx.Value) {
			part, seen := b.NewSym("block"), b.NewSym("seen")
			begin := b.Mul(turn, block)
			end := b.Min(b.Add(begin, block), longest)
			zero, from, to := onnx.Const(b, []int64{0}, 1), b.Unsqueeze(begin, 0), b.Unsqueeze(end, 0)
			rows, columns := b.SliceTo(a.index, 0, from, to, part), b.SliceTo(a.index, 0, zero, to, seen)
			one := onnx.Scalar(b, int64(1))
			causal := b.Less(b.Unsqueeze(columns, 0), b.Unsqueeze(b.Add(rows, one), 1))
			attended := a.masked(b, b.SliceTo(query, 3, from, to, part),
				b.SliceTo(key, 2, zero, to, seen), b.SliceTo(value, 2, zero, to, seen), b.Unsqueeze(causal, 0))
			return onnx.Scalar(b, true), []onnx.Value{b.Concat(3, done, carried[0], attended)}, nil
		})[0]
	out = g.ReshapeLike(out, g.ShapeOf(query), sizes...)
	return g.Gather(a.ungrouped(out), e.in[InputPack], 0)
}

// stepAttention is attention from the window of a step.
type stepAttention struct {
	paddedAttention
	sizes         onnx.Value // B, window, -1
	batch, window onnx.Dim
	mask          onnx.Value // (B,window,P) bool: which keys a query sees
	past          []onnx.Value
}

func (a *stepAttention) attend(i int, query, key, value onnx.Value) onnx.Value {
	g := a.g
	spread := func(x onnx.Value) onnx.Value { return g.ReshapeLike(x, a.sizes, a.batch, a.window, x.Dim(1)) }
	key = g.Concat(2, a.places, a.past[2*i], a.heads(spread(key)))
	value = g.Concat(2, a.places, a.past[2*i+1], a.heads(spread(value)))
	a.present = append(a.present, key, value)
	return a.ungrouped(a.masked(g, a.grouped(spread(query)), key, value, a.mask))
}
