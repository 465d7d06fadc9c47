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

// roomTokens are the tokens of an answer that pages are made for before they are
// needed, level by level; behind them there is room for all that may be generated. A
// level costs one copy of what the pages hold, and twice their memory meanwhile.
var roomTokens = []int64{256, 1024}

// pagedCache keeps the keys and values of all rows in pages, which the attention
// of each step fills in place: nothing is copied and nothing carried from turn
// to turn. Rows need no padding. It runs on CUDA.
type pagedCache struct {
	e        *Graph
	pages    []onnx.Value // keys and values of each layer in turn
	table    onnx.Value   // (B,n) int32: the pages of each row
	rows     onnx.Value   // (B+1) int32: 0 to B
	capacity onnx.Value   // () int64: the most tokens that a row has room for
}

var _ cache = (*pagedCache)(nil)

func (p *pagedCache) prompt(g *onnx.Graph, layers runLayers) (sum, branch onnx.Value) {
	e := p.e
	g.Scope("cache", func() { e.room = p.grow(g, 0) })
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

// grow adds pages to every row, or makes the first ones, for its prompt and so many
// new tokens.
func (p *pagedCache) grow(g *onnx.Graph, level int) (room onnx.Value) {
	e := p.e
	room = e.roomOf(g, level)
	one, page := onnx.Scalar(g, int64(1)), pageTokens(e.c.HeadDim)
	p.capacity = g.Add(g.Add(e.in[InputLongest], room), onnx.Scalar(g, int64(e.windowSize())))
	rows := g.SizeOf(e.in[InputLengths], 0)
	perRow := g.Unsqueeze(g.Add(g.Div(p.capacity, onnx.Scalar(g, page)), one), 0)
	before := onnx.Scalar(g, int64(0)) // pages of all rows
	if level > 0 {
		had := g.SizeOf(p.table, 1)
		perRow = g.Max(g.Sub(perRow, had), onnx.Const(g, []int64{1}, 1))
		before = g.Squeeze(g.Mul(rows, had), 0)
	}
	total := g.Mul(rows, perRow)
	count, width := g.NewSym("pages"), g.NewSym("pages_a_row")

	numbers := g.Cast(g.Add(g.Range(g.Squeeze(total, 0), count), before), onnx.Int32)
	table := g.ReshapeLike(numbers, g.Concat(0, onnx.Dim{}, rows, perRow), e.Batch, width)
	sizes := g.Concat(0, onnx.Dim{}, total, onnx.Const(g, []int64{page, int64(e.c.NumKVHeads), int64(e.c.HeadDim)}, 3))
	if level == 0 {
		p.table, p.pages = table, p.made(g, sizes, count)
		p.rows = g.Cast(g.Range(g.Squeeze(g.Add(rows, g.Unsqueeze(one, 0)), 0), onnx.Sym("batch_and_one")), onnx.Int32)
		return room
	}
	p.table = g.Concat(1, g.NewSym("pages_a_row"), p.table, table)
	grown := make([]onnx.Value, len(p.pages))
	for i, more := range p.made(g, sizes, count) {
		grown[i] = g.Concat(0, g.NewSym("pages"), p.pages[i], more)
	}
	p.pages = grown
	return room
}

// made is new pages of every layer's keys and values.
func (p *pagedCache) made(g *onnx.Graph, sizes onnx.Value, count onnx.Dim) []onnx.Value {
	c := p.e.c
	if 2*c.NumLayers > distinctFills {
		g.Fail("%d layers, pages of at most %d can be told apart", c.NumLayers, distinctFills/2)
	}
	pages := make([]onnx.Value, 2*c.NumLayers)
	for i := range pages {
		// Every tensor has its own fill: equal nodes would be made one.
		fill := g.Reshape(g.ScalarOf(p.e.o.DType, float32(i+1)), onnx.N(1), onnx.N(1), onnx.N(1), onnx.N(1))
		pages[i] = g.Expand(fill, sizes, count, onnx.N(pageTokens(c.HeadDim)), onnx.N(int64(c.NumKVHeads)), onnx.N(int64(c.HeadDim)))
	}
	return pages
}

func (p *pagedCache) carried(*onnx.Graph) ([]onnx.Value, []onnx.Shape) { return nil, nil }

func (p *pagedCache) step(g *onnx.Graph, w window, _ []onnx.Value, run runLayers) (sum, branch onnx.Value, next func(onnx.Value) []onnx.Value) {
	size := g.Cast(w.size, onnx.Int32)
	longest := g.Cast(p.capacity, onnx.Int32)
	sum, branch = run(&pagedAttention{
		pagedCache: p, g: g, past: w.past, ends: g.Mul(p.rows, size),
		bounds: g.Concat(0, onnx.Dim{}, g.Unsqueeze(size, 0), g.Unsqueeze(longest, 0)),
	})
	// Rejected draft tokens lie behind the row's end and are written over.
	return sum, branch, func(onnx.Value) []onnx.Value { return nil }
}

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
