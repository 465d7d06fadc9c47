package qwenvl

import "github.com/denseflow/densereward/engine/onnx"

// pageTokens is the number of tokens of a page of the cache: the least that the
// flash kernel takes for heads of a size.
func pageTokens(headSize int) int64 {
	switch {
	case headSize <= 64:
		return 256
	case headSize <= 128:
		return 128
	}
	return 64
}

// distinctFills is how many whole numbers from 1 on bfloat16 tells apart.
const distinctFills = 256

// pagedCache keeps the keys and values of all rows in pages, which the attention
// of each step fills in place: nothing is copied and nothing carried from turn
// to turn. Rows need no padding. It runs on CUDA.
type pagedCache struct {
	e     *Graph
	pages []onnx.Value // keys and values of each layer in turn
	table onnx.Value   // (B,n) int32: the pages of each row
	rows  onnx.Value   // (B+1) int32: 0 to B
}

var _ cache = (*pagedCache)(nil)

func (p *pagedCache) prompt(g *onnx.Graph, layers runLayers) (sum, branch onnx.Value) {
	e := p.e
	g.Scope("cache", func() { p.allocate(g) })
	lengths := g.Cast(e.in[InputLengths], onnx.Int32)
	zero := onnx.Const(g, []int32{0}, 1)
	bound := g.Cast(g.Unsqueeze(e.in[InputLongest], 0), onnx.Int32)
	return layers(&pagedAttention{
		pagedCache: p, g: g,
		past:   g.Sub(lengths, lengths),
		ends:   g.Concat(0, onnx.Sym("batch_and_one"), zero, g.CumSum(lengths, 0, false)),
		bounds: g.Concat(0, onnx.Dim{}, bound, bound),
	})
}

// allocate makes room for every row's prompt and new tokens.
func (p *pagedCache) allocate(g *onnx.Graph) {
	e := p.e
	one, page := onnx.Scalar(g, int64(1)), pageTokens(e.c.HeadDim)
	rows := g.SizeOf(e.in[InputLengths], 0)
	perRow := g.Unsqueeze(g.Add(g.Div(p.longest(g), onnx.Scalar(g, page)), one), 0)
	total := g.Mul(rows, perRow)
	count, width := onnx.Sym("pages"), onnx.Sym("pages_a_row")

	numbers := g.Cast(g.Range(g.Squeeze(total, 0), count), onnx.Int32)
	p.table = g.ReshapeLike(numbers, g.Concat(0, onnx.Dim{}, rows, perRow), e.Batch, width)
	p.rows = g.Cast(g.Range(g.Squeeze(g.Add(rows, g.Unsqueeze(one, 0)), 0), onnx.Sym("batch_and_one")), onnx.Int32)

	heads, size := onnx.N(int64(e.c.NumKVHeads)), onnx.N(int64(e.c.HeadDim))
	sizes := g.Concat(0, onnx.Dim{}, total, onnx.Const(g, []int64{page, int64(e.c.NumKVHeads), int64(e.c.HeadDim)}, 3))
	if 2*e.c.NumLayers > distinctFills {
		g.Fail("%d layers, pages of at most %d can be told apart", e.c.NumLayers, distinctFills/2)
	}
	for i := range 2 * e.c.NumLayers {
		// Every tensor has its own fill: equal nodes would be made one.
		fill := g.Reshape(g.ScalarOf(e.o.DType, float32(i+1)), onnx.N(1), onnx.N(1), onnx.N(1), onnx.N(1))
		p.pages = append(p.pages, g.Expand(fill, sizes, count, onnx.N(page), heads, size))
	}
}

func (p *pagedCache) carried(*onnx.Graph) ([]onnx.Value, []onnx.Shape) { return nil, nil }

func (p *pagedCache) step(g *onnx.Graph, w window, _ []onnx.Value, run runLayers) (sum, branch onnx.Value, next func(onnx.Value) []onnx.Value) {
	size := g.Cast(w.size, onnx.Int32)
	longest := g.Cast(p.longest(g), onnx.Int32)
	sum, branch = run(&pagedAttention{
		pagedCache: p, g: g, past: w.past, ends: g.Mul(p.rows, size),
		bounds: g.Concat(0, onnx.Dim{}, g.Unsqueeze(size, 0), g.Unsqueeze(longest, 0)),
	})
	// Rejected draft tokens lie behind the row's end and are written over.
	return sum, branch, func(onnx.Value) []onnx.Value { return nil }
}

// longest is the most tokens a row may come to.
func (p *pagedCache) longest(g *onnx.Graph) onnx.Value {
	return g.Add(g.Add(p.e.in[InputLongest], p.e.in[InputMaxNewTokens]), onnx.Scalar(g, int64(p.e.windowSize())))
}

// pagedAttention is attention by PagedAttention.
type pagedAttention struct {
	*pagedCache
	g                  *onnx.Graph
	past, ends, bounds onnx.Value
}

func (a *pagedAttention) attend(i int, query, key, value onnx.Value) onnx.Value {
	e := a.e
	return a.g.PagedAttention(onnx.Paged{
		Query: query, Key: key, Value: value, KeyCache: a.pages[2*i], ValueCache: a.pages[2*i+1],
		Past: a.past, Ends: a.ends, Table: a.table, Bounds: a.bounds,
		Heads: int64(e.c.NumHeads), KVHeads: int64(e.c.NumKVHeads),
	})
}
