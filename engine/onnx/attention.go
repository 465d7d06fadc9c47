package onnx

// RotaryEmbedding rotates the heads of x (batch,sequence,heads*size) by the
// angles whose cosines and sines (rows,size/2) are given; positions
// (batch,sequence) names each token's row, or (1) the row of the first token of
// every sequence. A head's halves are rotated against each other, as in Llama and
// Qwen, or, if adjacent, its neighbouring elements: com.microsoft
// RotaryEmbedding.
func (g *Graph) RotaryEmbedding(x, positions, cos, sin Value, heads int64, adjacent bool) Value {
	const op = "RotaryEmbedding"
	if !g.sameType(op, x, cos, sin) || !g.index(op, positions) {
		return Value{}
	}
	width, ok := x.Dim(-1).Fixed()
	if !ok || len(x.shape) != 3 || width%heads != 0 {
		return g.Fail("%s: %v in %d heads", op, x.shape, heads)
	}
	half := N(width / heads / 2)
	if len(cos.shape) != 2 || cos.Dim(-1) != half || !cos.shape.Equal(sin.shape) {
		return g.Fail("%s: cosines %v and sines %v for heads of %d", op, cos.shape, sin.shape, width/heads)
	}
	if !positions.shape.Equal(x.shape[:2]) && !positions.shape.Equal(Dims(1)) {
		return g.Fail("%s: positions %v for %v", op, positions.shape, x.shape)
	}
	attrs := []Attr{{"num_heads", heads}, {"rotary_embedding_dim", int64(0)}}
	if adjacent {
		attrs = append(attrs, Attr{"interleaved", int64(1)})
	}
	return g.Op(contribDomain, op, []Value{x, positions, cos, sin}, attrs, typed(x.dtype, x.shape))[0]
}

// MultiHeadAttention attends from every query to every key of its row of the
// batch, without a mask: query (batch,q,heads*size), key and value
// (batch,k,heads*size). scale 0 means 1/sqrt(size).
func (g *Graph) MultiHeadAttention(query, key, value Value, heads int64, scale float32) Value {
	if scale == 0 {
		return g.attention(query, key, value, heads)
	}
	return g.attention(query, key, value, heads, Attr{"scale", scale})
}

func (g *Graph) attention(query, key, value Value, heads int64, attrs ...Attr) Value {
	const op = "MultiHeadAttention"
	if !g.sameType(op, query, key, value) {
		return Value{}
	}
	width, ok := query.Dim(-1).Fixed()
	if !ok || len(query.shape) != 3 || width%heads != 0 {
		return g.Fail("%s: query %v in %d heads", op, query.shape, heads)
	}
	if len(key.shape) != 3 || !key.shape.Equal(value.shape) || key.Dim(0) != query.Dim(0) || key.Dim(-1) != query.Dim(-1) {
		return g.Fail("%s: query %v, key %v, value %v", op, query.shape, key.shape, value.shape)
	}
	attrs = append([]Attr{{"num_heads", heads}}, attrs...)
	return g.Op(contribDomain, op, []Value{query, key, value}, attrs, typed(query.dtype, query.shape))[0]
}

// Paged is what PagedAttention takes. Query is (T,heads*size), Key and Value are
// (T,kvHeads*size): the new tokens of all rows behind each other. Ends (B+1) int32
// says where each row's begin and end among them, Past (B) int32 how many tokens
// the row has already. The caches are (blocks,blockSize,kvHeads,size); Table (B,n)
// int32 lists each row's blocks. Bounds (2) int32 is the most new tokens and the
// most tokens of a row; it lies in host memory.
type Paged struct {
	Query, Key, Value    Value
	KeyCache, ValueCache Value
	Ends, Past, Table    Value
	Bounds               Value
	Heads, KVHeads       int64
}

// PagedAttention is causal attention over rows of any lengths without padding:
// com.microsoft PagedAttention. The new keys and values are written into the
// caches, in place: a value made by Full and used by nothing else but
// PagedAttention serves as one. The output is shaped as the queries.
func (g *Graph) PagedAttention(p Paged) Value {
	const op = "PagedAttention"
	if !g.sameType(op, p.Query, p.Key, p.Value, p.KeyCache, p.ValueCache) || !g.need(op, p.Ends, p.Past, p.Table, p.Bounds) {
		return Value{}
	}
	size, ok := g.headSize(op, p)
	if !ok {
		return Value{}
	}
	for _, cache := range []Value{p.KeyCache, p.ValueCache} {
		if len(cache.shape) != 4 || cache.Dim(2) != N(p.KVHeads) || cache.Dim(3) != N(size) {
			return g.Fail("%s: cache %v for %d heads of %d", op, cache.shape, p.KVHeads, size)
		}
	}
	for _, v := range []Value{p.Ends, p.Past, p.Table, p.Bounds} {
		if v.dtype != Int32 {
			return g.Fail("%s: %s is %v, not int32", op, v.name, v.dtype)
		}
	}
	return g.Op(contribDomain, op,
		[]Value{p.Query, p.Key, p.Value, p.KeyCache, p.ValueCache, p.Ends, p.Past, p.Table, {}, {}, {}, {}, {}, {}, {}, {}, p.Bounds},
		[]Attr{{"num_heads", p.Heads}, {"kv_num_heads", p.KVHeads}}, typed(p.Query.dtype, p.Query.shape))[0]
}

// headSize is the width of a head of queries, keys and values.
func (g *Graph) headSize(op string, p Paged) (int64, bool) {
	width, ok := p.Query.Dim(-1).Fixed()
	if !ok || p.Heads <= 0 || p.KVHeads <= 0 || p.Heads%p.KVHeads != 0 || width%p.Heads != 0 {
		g.Fail("%s: %v in %d heads of queries and %d of keys", op, p.Query.shape, p.Heads, p.KVHeads)
		return 0, false
	}
	size := width / p.Heads
	want := p.Query.shape.with(len(p.Query.shape)-1, N(p.KVHeads*size))
	if !p.Key.shape.Equal(want) || !p.Value.shape.Equal(want) {
		g.Fail("%s: keys %v and values %v in %d heads of %d", op, p.Key.shape, p.Value.shape, p.KVHeads, size)
		return 0, false
	}
	return size, true
}

// CausalAttention is MultiHeadAttention in which no query sees keys behind its own
// place.
func (g *Graph) CausalAttention(query, key, value Value, heads int64) Value {
	return g.attention(query, key, value, heads, Attr{"unidirectional", int64(1)})
}
