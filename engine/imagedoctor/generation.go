package imagedoctor

import "github.com/denseflow/densereward/engine/onnx"

// generation is the decoding loop: the highest logit becomes the next token,
// until every row has ended or the limit is reached. On the way it keeps, for
// each kind of heatmap, the hidden state that predicted its special token.
type generation struct{ *evaluatorGraph }

// carried is what passes from one turn to the next, beside the cache.
type carried struct {
	token    onnx.Value // (B) int64: the newest token
	done     onnx.Value // (B) bool: the row has ended
	selected onnx.Value // (B,kinds,hidden): the states that predicted the special tokens
	found    onnx.Value // (B,kinds) bool: selected holds something
	passed   onnx.Value // (B,kinds) bool: the special token has occurred
	past     onnx.Value // (B) int32: tokens before the newest one
	seen     onnx.Value // (B,vocabulary) bool: tokens the penalty falls on; absent without one
}

func (c carried) list() []onnx.Value {
	l := []onnx.Value{c.token, c.done, c.selected, c.found, c.passed, c.past}
	if c.seen.Valid() {
		l = append(l, c.seen)
	}
	return l
}

// carriedFrom undoes list and returns what stands behind it.
func carriedFrom(l []onnx.Value, penalty bool) (carried, []onnx.Value) {
	c := carried{token: l[0], done: l[1], selected: l[2], found: l[3], passed: l[4], past: l[5]}
	if !penalty {
		return c, l[6:]
	}
	c.seen = l[6]
	return c, l[7:]
}

// run generates from the hidden state (B,hidden) of the prompts' last tokens.
// It returns the tokens (B,N), the selected states and which of them are there.
func (e *generation) run(hidden onnx.Value) (tokens, selected, found onnx.Value) {
	g := e.g
	var first carried
	g.Scope("first", func() { first = e.first(hidden) })

	state := first.list()
	shapes := make([]onnx.Shape, len(state))
	cached, cachedShapes := e.cache.carried(g)
	state, shapes = append(state, cached...), append(shapes, cachedShapes...)
	limit := g.Sub(e.in[inputMaxNewTokens], onnx.Scalar(g, int64(1)))
	turns := onnx.Sym("turns")
	var out []onnx.Value
	g.Scope("loop", func() {
		out = g.Loop(limit, e.again(g, first.done), state, shapes, turns, e.turn)
	})
	last, _ := carriedFrom(out, e.o.penalty)
	collected := out[len(out)-1]
	all := g.Concat(0, onnx.Sym("new_tokens"), g.Unsqueeze(first.token, 0), collected)
	return g.Transpose(all, 1, 0), last.selected, last.found
}

// first predicts the first token, which selects no state: nothing generated
// stands before it.
func (e *generation) first(hidden onnx.Value) carried {
	g := e.g
	var c carried
	logits := e.language.head(g, hidden)
	if e.o.penalty {
		vocabulary := logits.Dim(1)
		sizes := g.Concat(0, onnx.Dim{}, g.SizeOf(hidden, 0), onnx.Const(g, []int64{int64(e.language.vocabulary())}, 1))
		none := onnx.Full(g, false, sizes, e.batch, vocabulary)
		rows, ids := g.Unsqueeze(e.in[inputRows], 1), g.Unsqueeze(e.in[inputTokens], 1)
		yes := onnx.Full(g, true, g.ShapeOf(e.in[inputTokens]), e.tokens)
		c.seen = g.ScatterND(none, g.Concat(1, onnx.Dim{}, rows, ids), yes)
		logits = e.penalised(g, logits, c.seen)
	}
	c.token = g.ArgMax(logits, 1)
	c.done = e.ends(g, c.token)
	c.past = g.Cast(e.in[inputLengths], onnx.Int32)
	c.passed = g.Equal(g.Unsqueeze(c.token, 1), e.special(g))
	perKind := g.Concat(0, onnx.Dim{}, g.SizeOf(hidden, 0), onnx.Const(g, []int64{kinds}, 1))
	c.found = onnx.Full(g, false, perKind, e.batch, onnx.N(kinds))
	states := g.Concat(0, onnx.Dim{}, perKind, onnx.Const(g, []int64{int64(e.c.HiddenSize)}, 1))
	zero := onnx.Full(g, float32(0), states, e.batch, onnx.N(kinds), hidden.Dim(1))
	c.selected = g.Cast(zero, e.o.dtype)
	if e.o.penalty {
		c.seen = e.mark(g, c.seen, c.token)
	}
	return c
}

// turn runs the newest token through the model and predicts the one after it.
func (e *generation) turn(g *onnx.Graph, turn onnx.Value, state []onnx.Value) (again onnx.Value, next, collected []onnx.Value) {
	c, cached := carriedFrom(state, e.o.penalty)
	x := g.Gather(e.language.embedding(), c.token, 0)
	sum, branch, cached := e.cache.step(g, turn, c.past, cached, func(a attention) (sum, branch onnx.Value) {
		return e.language.layers(g, x, a)
	})
	hidden := e.language.final(g, sum, branch)
	logits := e.language.head(g, hidden)
	if e.o.penalty {
		logits = e.penalised(g, logits, c.seen)
	}
	end := onnx.Scalar(g, int64(e.c.EOSTokenIDs[0]))
	n := carried{token: g.Where(c.done, end, g.ArgMax(logits, 1))}
	hit := g.And(g.Equal(g.Unsqueeze(n.token, 1), e.special(g)), g.Not(g.Or(c.passed, g.Unsqueeze(c.done, 1))))
	n.selected = g.Where(g.Unsqueeze(hit, 2), g.Unsqueeze(hidden, 1), c.selected)
	n.found = g.Or(c.found, hit)
	n.passed = g.Or(c.passed, hit)
	n.past = g.Add(c.past, onnx.Scalar(g, int32(1)))
	n.done = g.Or(c.done, e.ends(g, n.token))
	if e.o.penalty {
		n.seen = e.mark(g, c.seen, n.token)
	}
	return e.again(g, n.done), append(n.list(), cached...), []onnx.Value{n.token}
}

// special is the token ids (1,kinds) that ask for a heatmap.
func (e *generation) special(g *onnx.Graph) onnx.Value {
	return onnx.Const(g, []int64{int64(e.c.MisalignmentTokenID), int64(e.c.ArtifactTokenID)}, 1, kinds)
}

// ends tells which tokens (B) end their row.
func (e *generation) ends(g *onnx.Graph, token onnx.Value) onnx.Value {
	var any onnx.Value
	for _, id := range e.c.EOSTokenIDs {
		is := g.Equal(token, onnx.Scalar(g, int64(id)))
		if any.Valid() {
			is = g.Or(any, is)
		}
		any = is
	}
	return any
}

// again is whether some row (B) is not done.
func (e *generation) again(g *onnx.Graph, done onnx.Value) onnx.Value {
	return g.Cast(g.ReduceMax(g.Cast(g.Not(done), onnx.Int32), 0, false), onnx.Bool)
}

// penalised divides positive logits of seen tokens by the penalty and multiplies
// negative ones.
func (e *generation) penalised(g *onnx.Graph, logits, seen onnx.Value) onnx.Value {
	p := e.in[inputPenalty]
	negative := g.Less(logits, onnx.Scalar(g, float32(0)))
	return g.Where(seen, g.Where(negative, g.Mul(logits, p), g.Div(logits, p)), logits)
}

// mark adds each row's token (B) to seen.
func (e *generation) mark(g *onnx.Graph, seen, token onnx.Value) onnx.Value {
	column := g.Unsqueeze(token, 1)
	yes := onnx.Full(g, true, g.ShapeOf(column), column.Shape()...)
	return g.ScatterElements(seen, column, yes, 1)
}
