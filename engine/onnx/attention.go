package onnx

// RotaryEmbedding rotates the heads of x (batch,sequence,heads*size) by the
// angles whose cosines and sines (rows,size/2) are given; positions
// (batch,sequence) names each token's row, or (1) the row of the first token of
// every sequence. Halves are rotated against each
// other, as in Llama and Qwen: com.microsoft RotaryEmbedding.
func (g *Graph) RotaryEmbedding(x, positions, cos, sin Value, heads int64) Value {
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
	return g.Op(contribDomain, op, []Value{x, positions, cos, sin},
		[]Attr{{"num_heads", heads}, {"rotary_embedding_dim", int64(0)}}, typed(x.dtype, x.shape))[0]
}

// MultiHeadAttention attends from every query to every key of its row of the
// batch, without a mask: query (batch,q,heads*size), key and value
// (batch,k,heads*size). scale 0 means 1/sqrt(size).
func (g *Graph) MultiHeadAttention(query, key, value Value, heads int64, scale float32) Value {
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
	attrs := []Attr{{"num_heads", heads}}
	if scale != 0 {
		attrs = append(attrs, Attr{"scale", scale})
	}
	return g.Op(contribDomain, op, []Value{query, key, value}, attrs, typed(query.dtype, query.shape))[0]
}

// GroupQuery is what GroupQueryAttention takes. Query is (B,S,heads*size), Key
// and Value (B,S,kvHeads*size), the past tensors (B,kvHeads,P,size) or absent.
// LastIndex (B) int32 holds each row's number of tokens, past and new, minus
// one; Total is the largest number of tokens as an int32 scalar, and TotalDim
// its dimension in the present tensors.
type GroupQuery struct {
	Query, Key, Value  Value
	PastKey, PastValue Value
	LastIndex, Total   Value
	Heads, KVHeads     int64
	TotalDim           Dim
}

// GroupQueryAttention is causal attention with a cache and fewer key heads than
// query heads: com.microsoft GroupQueryAttention, with rotation left to the
// caller. Rows are right-padded. It returns the output (B,S,heads*size) and the
// present keys and values (B,kvHeads,TotalDim,size).
func (g *Graph) GroupQueryAttention(q GroupQuery) (out, presentKey, presentValue Value) {
	const op = "GroupQueryAttention"
	if !g.sameType(op, q.Query, q.Key, q.Value) || !g.need(op, q.LastIndex, q.Total) {
		return
	}
	width, ok := q.Query.Dim(-1).Fixed()
	kvWidth, kvOK := q.Key.Dim(-1).Fixed()
	if !ok || !kvOK || len(q.Query.shape) != 3 || q.Heads <= 0 || q.KVHeads <= 0 ||
		width%q.Heads != 0 || q.Heads%q.KVHeads != 0 || kvWidth != width/q.Heads*q.KVHeads {
		g.Fail("%s: query %v in %d heads, key %v in %d heads", op, q.Query.shape, q.Heads, q.Key.shape, q.KVHeads)
		return
	}
	if q.LastIndex.dtype != Int32 || q.Total.dtype != Int32 {
		g.Fail("%s: lengths are %v and %v, not int32", op, q.LastIndex.dtype, q.Total.dtype)
		return
	}
	size := width / q.Heads
	batch := q.Query.Dim(0)
	for _, past := range []Value{q.PastKey, q.PastValue} {
		if past.Valid() && (len(past.shape) != 4 || past.Dim(0) != batch || past.Dim(1) != N(q.KVHeads) || past.Dim(3) != N(size)) {
			g.Fail("%s: past %v for query %v", op, past.shape, q.Query.shape)
			return
		}
	}
	present := typed(q.Query.dtype, Shape{batch, N(q.KVHeads), q.TotalDim, N(size)})
	outs := g.Op(contribDomain, op,
		[]Value{q.Query, q.Key, q.Value, q.PastKey, q.PastValue, q.LastIndex, q.Total},
		[]Attr{{"num_heads", q.Heads}, {"kv_num_heads", q.KVHeads}},
		typed(q.Query.dtype, q.Query.shape), present, present)
	return outs[0], outs[1], outs[2]
}
