package imagedoctor

import "github.com/denseflow/densereward/engine/onnx"

// generation is the decoding loop: the highest logit becomes the next token,
// until every row has ended or the limit is reached. On the way it keeps, for
// each kind of heatmap, the hidden state that predicted its special token.
//
// With a draft, a step runs the newest token and what is guessed to follow. Every
// guess that the model itself would have written next is a token gained, up to
// and with the model's own token behind the first wrong guess; the answer is the
// one that steps of one token give.
type generation struct{ *evaluatorGraph }

// carried is what passes from one turn to the next, beside the cache.
type carried struct {
	token    onnx.Value // (B) int64: the newest token
	count    onnx.Value // (B) int64: tokens generated
	answer   onnx.Value // (B,N+window) int64: what was generated; behind count, anything
	done     onnx.Value // (B) bool: the row has ended
	selected onnx.Value // (B,kinds,hidden): the states that predicted the special tokens
	found    onnx.Value // (B,kinds) bool: selected holds something
	seen     onnx.Value // (B,vocabulary) bool: tokens the penalty falls on; absent without one
	state    onnx.Value // (B) int64: of the draft; absent without one
	guess    onnx.Value // (B,window-1) int64: what is guessed to follow; absent without a draft
}

// fields lists the values in order; absent ones are left out.
func (c *carried) fields(o graphOptions) []*onnx.Value {
	l := []*onnx.Value{&c.token, &c.count, &c.answer, &c.done, &c.selected, &c.found}
	if o.penalty {
		l = append(l, &c.seen)
	}
	if o.draft != nil {
		l = append(l, &c.state, &c.guess)
	}
	return l
}

// windowSize is the most tokens a row has in one step.
func (e *evaluatorGraph) windowSize() int {
	if e.o.draft == nil {
		return 1
	}
	return 1 + e.o.draft.longest
}

// run generates from the hidden state (B,hidden) of the prompts' last tokens.
// It returns the tokens (B,N), the selected states and which of them are there.
func (e *generation) run(hidden onnx.Value) (tokens, selected, found onnx.Value) {
	g := e.g
	var c carried
	g.Scope("first", func() { c = e.first(hidden) })
	fields := c.fields(e.o)
	state := make([]onnx.Value, len(fields))
	for i, f := range fields {
		state[i] = *f
	}
	shapes := make([]onnx.Shape, len(state))
	if e.o.draft != nil {
		shapes[len(shapes)-1] = onnx.Shape{e.batch, g.NewSym("guessed")}
	}
	cached, cachedShapes := e.cache.carried(g)
	state, shapes = append(state, cached...), append(shapes, cachedShapes...)

	limit := g.Sub(e.in[inputMaxNewTokens], onnx.Scalar(g, int64(1)))
	var out []onnx.Value
	g.Scope("loop", func() {
		out = g.Loop(limit, e.again(g, c.done), state, shapes, onnx.Dim{}, e.turn)
	})
	var last carried
	for i, f := range last.fields(e.o) {
		*f = out[i]
	}
	return e.written(last), last.selected, last.found
}

// written is the answers (B,N), as long as the longest, filled up with the end
// token.
func (e *generation) written(c carried) onnx.Value {
	g := e.g
	length := onnx.Sym("new_tokens")
	most := g.Unsqueeze(g.ReduceMax(c.count, 0, false), 0)
	answer := g.SliceTo(c.answer, 1, onnx.Const(g, []int64{0}, 1), most, length)
	index := g.Unsqueeze(g.Range(g.Squeeze(most, 0), length), 0)
	return g.Where(g.Less(index, g.Unsqueeze(c.count, 1)), answer, onnx.Scalar(g, int64(e.c.EOSTokenIDs[0])))
}

// first predicts the first token, which selects no state: the reference looks for
// the special tokens from the second on.
func (e *generation) first(hidden onnx.Value) carried {
	g := e.g
	var c carried
	logits := e.language.head(g, hidden)
	if e.o.penalty {
		c.seen = e.promptTokens(logits.Dim(1))
		logits = e.penalised(g, logits, c.seen)
	}
	rows := g.SizeOf(hidden, 0)
	c.token = highest(g, logits)
	c.count = onnx.Full(g, int64(1), rows, e.batch)
	if e.o.forced {
		c.token = g.Squeeze(e.forcedAt(g, onnx.Full(g, int64(0), g.Concat(0, onnx.Dim{}, rows, onnx.Const(g, []int64{1}, 1)), e.batch, onnx.N(1))), 1)
	}
	room := g.Add(g.Unsqueeze(e.in[inputMaxNewTokens], 0), onnx.Const(g, []int64{int64(e.windowSize())}, 1))
	blank := onnx.Full(g, int64(0), g.Concat(0, onnx.Dim{}, rows, room), e.batch, onnx.Sym("room"))
	column := g.Unsqueeze(c.token, 1)
	c.answer = g.ScatterElements(blank, g.Sub(column, column), column, 1)
	c.done = g.Or(e.ends(g, c.token), g.Less(e.in[inputMaxNewTokens], onnx.Scalar(g, int64(2))))
	perKind := g.Concat(0, onnx.Dim{}, rows, onnx.Const(g, []int64{kinds}, 1))
	c.found = onnx.Full(g, false, perKind, e.batch, onnx.N(kinds))
	states := g.Concat(0, onnx.Dim{}, perKind, onnx.Const(g, []int64{int64(e.c.HiddenSize)}, 1))
	c.selected = g.Cast(onnx.Full(g, float32(0), states, e.batch, onnx.N(kinds), hidden.Dim(1)), e.o.dtype)
	if e.o.penalty {
		c.seen = e.mark(g, c.seen, column)
	}
	if e.o.draft != nil {
		start := g.Expand(e.in[inputDraftState], rows, e.batch)
		e.guessOn(g, &c, start)
	}
	return c
}

// turn runs the newest token, and what is guessed to follow, through the model
// and takes over what it predicts.
func (e *generation) turn(g *onnx.Graph, _ onnx.Value, in []onnx.Value) (again onnx.Value, next, collected []onnx.Value) {
	var c carried
	fields := c.fields(e.o)
	for i, f := range fields {
		*f = in[i]
	}
	s := &step{generation: e, g: g, carried: c}
	s.open()
	ids := g.ReshapeLike(s.tokens, onnx.Const(g, []int64{-1}, 1), e.batch.Times(s.window.dim))
	x := g.Gather(e.language.embedding(), ids, 0)
	sum, branch, keep := e.cache.step(g, s.window, in[len(fields):], func(a attention) (sum, branch onnx.Value) {
		return e.language.layers(g, x, a, onnx.Value{})
	})
	hidden := e.language.final(g, sum, branch)
	s.predict(hidden)
	s.accept()
	s.keepStates(hidden)
	n := s.close()
	for _, f := range n.fields(e.o) {
		next = append(next, *f)
	}
	return e.again(g, n.done), append(next, keep(s.kept)...), nil
}

// special is the token ids (1,kinds) that ask for a heatmap.
func (e *generation) special(g *onnx.Graph) onnx.Value {
	return onnx.Const(g, []int64{int64(e.c.MisalignmentTokenID), int64(e.c.ArtifactTokenID)}, 1, kinds)
}

// ends tells which tokens end their row.
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

// forcedAt is the forced tokens at the places index (B,n) of the answer.
func (e *generation) forcedAt(g *onnx.Graph, index onnx.Value) onnx.Value {
	last := g.Sub(g.SizeOf(e.in[inputForced], 1), onnx.Const(g, []int64{1}, 1))
	return g.GatherElements(e.in[inputForced], g.Min(index, last), 1)
}

// guessOn moves the draft on from the given states (B) by the newest tokens and
// guesses as far as any row's state knows.
func (e *generation) guessOn(g *onnx.Graph, c *carried, from onnx.Value) {
	d := e.o.draft
	states := int64(len(d.lengths))
	class := g.Cast(g.Gather(onnx.Const(g, d.classes, int64(len(d.classes))), c.token, 0), onnx.Int64)
	at := g.Add(g.Mul(from, onnx.Scalar(g, int64(d.width))), class)
	c.state = g.Gather(onnx.Const(g, d.next, int64(len(d.next))), at, 0)
	known := g.Gather(onnx.Const(g, d.lengths, states), c.state, 0)
	known = g.Where(c.done, onnx.Scalar(g, int64(0)), known)
	size := g.Unsqueeze(g.ReduceMax(known, 0, false), 0)
	rows := g.Gather(onnx.Const(g, d.guesses, states, int64(d.longest)), c.state, 0)
	c.guess = g.SliceTo(rows, 1, onnx.Const(g, []int64{0}, 1), size, g.NewSym("guessed"))
}
