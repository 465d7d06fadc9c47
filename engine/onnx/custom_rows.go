package onnx

// RotaryRuns is the queries, keys and values of runs of rows: x (P,in) times the transpose
// of weight (3*width,in), plus bias (3*width). Neighbours in queries and keys turn by
// their row's cosines and sines (P,size/2), which repeat along the width. Run i holds the
// rows begin to end-1, in pieces of some rows each, as row i of runs (n,3) int64 has it:
// begin, end, rows of a piece. With order (P) int64 they are counted in that order. The
// result of each is (pieces,rows of a piece,width).
func (g *Graph) RotaryRuns(x Rows, weight, bias, cos, sin, order, runs Value, n int) [][3]Value {
	if !g.need("RotaryRuns", x.x) || !g.sameType("RotaryRuns", weight, bias, cos, sin) {
		return make([][3]Value, n)
	}
	return g.rotatePairs(g.Times(x, weight), bias, cos, sin, order, runs, n)
}

// rotatePairs is RotaryRuns behind the product x (P,3*width).
func (g *Graph) rotatePairs(x, bias, cos, sin, order, runs Value, n int) [][3]Value {
	out := make([][3]Value, n)
	if !g.need("RotatePairs", x, bias, cos, sin, runs) {
		return out
	}
	wide, _ := x.Dim(1).Fixed()
	width := wide / 3
	shape := func() Shape { return Shape{g.NewSym("pieces"), g.NewSym("piece"), N(width)} }
	if g.operators&WrittenOut == 0 {
		var outs []outputType
		for range n {
			t := typed(x.dtype, shape())
			outs = append(outs, t, t, t)
		}
		for i, v := range g.custom("RotatePairs", []Value{x, cos, sin, runs, bias, order}, nil, outs...) {
			out[i/3][i%3] = v
		}
		return out
	}
	half, _ := cos.Dim(1).Fixed()
	parts := g.Split(g.Add(x, bias), 1, width, width, width)
	for i := range parts {
		if i < 2 {
			parts[i] = g.Rotate(parts[i], cos, sin, width/(2*half), true)
		}
		if order.Valid() {
			parts[i] = g.Gather(parts[i], order, 0)
		}
	}
	for i := range out {
		run := g.Gather(runs, Scalar(g, int64(i)), 0)
		sizes := g.Concat(0, Dim{}, g.ints(-1), g.Slice(run, 0, 2, 3), g.ints(width))
		s := shape()
		for p := range out[i] {
			part := g.SliceTo(parts[p], 0, g.Slice(run, 0, 0, 1), g.Slice(run, 0, 1, 2), g.NewSym("run"))
			out[i][p] = g.ReshapeLike(part, sizes, s...)
		}
	}
	return out
}

// PenalisedArgMax is the index (R) of the largest of each row of logits (R,vocabulary),
// the first one where several are equal, in float32. Positive logits of seen tokens are
// divided by penalty (a float32 scalar) and negative ones multiplied: seen is
// (B,vocabulary) bool, of which R/B rows follow each other, the tokens of a window. With
// tokens (B,R/B) int64 those of the window up to a row's own count as seen as well. Seen,
// penalty and tokens may be absent.
func (g *Graph) PenalisedArgMax(logits, seen, penalty, tokens Value) Value {
	if !g.need("ArgMax", logits) || seen.Valid() && !g.need("ArgMax", penalty) {
		return Value{}
	}
	if tokens.Valid() && !seen.Valid() {
		return g.Fail("ArgMax: tokens of a window, but none seen")
	}
	if g.Fuses(FusedArgMax, logits.dtype, logits.Dim(1)) && g.operators&WrittenOut == 0 {
		return g.custom("ArgMax", []Value{logits, seen, penalty, tokens}, nil, typed(Int64, logits.shape[:1]))[0]
	}
	logits = g.Cast(logits, Float32)
	if seen.Valid() {
		if tokens.Valid() {
			seen = g.seenInWindow(seen, tokens, logits.Dim(0))
		}
		negative := g.Less(logits, Scalar(g, float32(0)))
		logits = g.Where(seen, g.Where(negative, g.Mul(logits, penalty), g.Div(logits, penalty)), logits)
	}
	return g.argMaxInPieces(logits)
}

// seenInWindow is the tokens (rows,vocabulary) that the penalty falls on behind each token
// of the windows (B,window): those seen before (B,vocabulary), and the window's own up to
// there.
func (g *Graph) seenInWindow(seen, tokens Value, rows Dim) Value {
	batch, window, vocabulary := tokens.Dim(0), tokens.Dim(1), seen.Dim(1)
	size, all := g.SizeOf(tokens, 1), g.SizeOf(seen, 1)
	index := g.Unsqueeze(g.Range(g.Squeeze(size, 0), window), 0)
	spread := g.Expand(g.Unsqueeze(seen, 1), g.Concat(0, Dim{}, g.SizeOf(seen, 0), size, all), batch, window, vocabulary)
	// Row j marks tokens 0 to j; in place of later ones, token 0 once more.
	later := g.Less(g.Unsqueeze(index, 1), g.Unsqueeze(index, 2)) // (1,1,w) < (1,w,1): token before row
	upTo := g.Or(later, g.Equal(g.Unsqueeze(index, 1), g.Unsqueeze(index, 2)))
	newest := g.SliceTo(tokens, 1, g.ints(0), g.ints(1), N(1))
	ids := g.Where(upTo, g.Unsqueeze(tokens, 1), g.Unsqueeze(newest, 2))
	yes := Full(g, true, g.ShapeOf(ids), ids.shape...)
	marked := g.ScatterElements(spread, ids, yes, 2)
	return g.ReshapeLike(marked, g.Concat(0, Dim{}, g.ints(-1), all), rows, vocabulary)
}

// Bounds of a piece in argMaxInPieces.
const leastPiece, mostPiece = 16, 256

// argMaxInPieces is ArgMax of each row of x (R,n). Rows as long as a vocabulary are slow
// to search in one go on a GPU, so the largest of each piece is found first.
func (g *Graph) argMaxInPieces(x Value) Value {
	n, _ := x.Dim(1).Fixed()
	piece := n & -n // the largest power of two that divides it
	if piece < leastPiece || piece == n {
		return g.ArgMax(x, 1)
	}
	piece = min(piece, mostPiece)
	pieces := g.Reshape(x, x.Dim(0), N(n/piece), N(piece))
	within := g.ArgMax(pieces, 2)
	largest := g.Squeeze(g.GatherElements(pieces, g.Unsqueeze(within, 2), 2), 2)
	which := g.Unsqueeze(g.ArgMax(largest, 1), 1)
	return g.Squeeze(g.Add(g.Mul(which, Scalar(g, piece)), g.GatherElements(within, which, 1)), 1)
}

// Rectified says where ChannelNorm sets what is negative to 0.
type Rectified int

// Before its norm or behind all.
const (
	RectifiedBefore Rectified = iota
	RectifiedAfter
)

// normable reports whether the threads of a warp can share a row of so many channels.
func normable(channels Dim) bool {
	n, _ := channels.Fixed()
	const threads, most = 32, 3 // vectors of a thread
	group := int64(threads)
	for n/vector%group != 0 {
		group /= 2
	}
	return n/vector/group <= most
}

// ChannelNorm divides x (N,H,W,C), plus bias (C) unless it is absent, by the root of its
// mean square over the channels and multiplies by scale (C); residual, shaped as x, is
// added to that unless it is absent.
func (g *Graph) ChannelNorm(x, scale, bias, residual Value, eps float32, where Rectified) Value {
	if !g.sameType("ChannelNorm", x, scale) || !g.perChannel("ChannelNorm", x, scale) {
		return Value{}
	}
	if g.Fuses(FusedChannelNorm, x.dtype, x.Dim(-1)) && g.operators&WrittenOut == 0 && normable(x.Dim(-1)) {
		flags := map[Rectified][2]int64{RectifiedBefore: {1, 0}, RectifiedAfter: {0, 1}}[where]
		return g.custom("ChannelNorm", []Value{x, scale, bias, residual},
			[]Attr{{"epsilon", eps}, {"rectify_before", flags[0]}, {"rectify_after", flags[1]}}, typed(x.dtype, x.shape))[0]
	}
	if where == RectifiedBefore {
		if bias.Valid() {
			x = g.Add(x, bias)
		}
		x = g.RMSNorm(g.Relu(x), scale, eps)
	} else if bias.Valid() {
		x = g.biasedRMSNorm(x, scale, bias, eps)
	} else {
		x = g.RMSNorm(x, scale, eps)
	}
	if residual.Valid() {
		x = g.Add(x, residual)
	}
	if where == RectifiedAfter {
		x = g.Relu(x)
	}
	return x
}

// biasedRMSNorm is the RMSNorm of x (N,H,W,C) plus bias. The fused operator for it wants
// something to add as well; it gets zeros.
func (g *Graph) biasedRMSNorm(x, scale, bias Value, eps float32) Value {
	channels, _ := x.Dim(3).Fixed()
	pixels, deep := x.Dim(1).Times(x.Dim(2)), x.Dim(3)
	flat := g.Reshape(x, x.Dim(0), pixels, deep)
	sizes := g.Concat(0, Dim{}, g.ints(1), g.SizeOf(flat, 1), g.ints(channels))
	zeros := g.Expand(g.Zeros(x.dtype, 1, 1, 1), sizes, N(1), pixels, deep)
	normed, _ := g.SkipRMSNorm(flat, zeros, scale, bias, eps)
	return g.ReshapeLike(normed, g.ShapeOf(x), x.shape...)
}
