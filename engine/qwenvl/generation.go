package qwenvl

import (
	"slices"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/qwenvl/draft"
)

// generation is the decoding loop: the argmax of the logits becomes the next
// token, until every row has ended or the limit is reached. On the way it keeps,
// for each watched token, the hidden state that predicted it.
//
// With a draft, a step runs the newest token and the draft tokens that may
// follow. Every draft token that the model itself would have written next is
// accepted, and the model's own token behind the first one rejected is the last of
// the step; the answer is the one that steps of one token give.
type generation struct {
	*Graph
	room onnx.Value // () int64: tokens of an answer that the cache has room for
}

// carried is what passes from one turn to the next, beside the cache.
type carried struct {
	token    onnx.Value // (B) int64: the newest token
	count    onnx.Value // (B) int64: tokens generated
	answer   onnx.Value // (B,N+window) int64: what was generated; behind count, anything
	done     onnx.Value // (B) bool: the row has ended
	selected onnx.Value // (B,watched,hidden): the states that predicted the watched tokens
	found    onnx.Value // (B,watched) bool: selected holds something
	seen     onnx.Value // (B,vocabulary) bool: tokens the penalty falls on; absent without one
	state    onnx.Value // (B) int64: of the draft; absent without one
	drafted  onnx.Value // (B,window-1) int64: draft tokens; absent without a draft
}

// fields lists the values in order; absent ones are left out.
func (c *carried) fields(o Options) []*onnx.Value {
	l := []*onnx.Value{&c.token, &c.count, &c.answer, &c.done}
	if len(o.Watched) > 0 {
		l = append(l, &c.selected, &c.found)
	}
	if o.Penalty {
		l = append(l, &c.seen)
	}
	if o.Drafted {
		l = append(l, &c.state, &c.drafted)
	}
	return l
}

// windowSize is the most tokens a row has in one step.
func (e *Graph) windowSize() int {
	if !e.o.Drafted {
		return 1
	}
	return 1 + draft.Longest
}

// run generates from the prompts' last tokens. It returns the tokens (B,N), the
// selected states and which of them are there.
func (e *generation) run() (tokens, selected, found onnx.Value) {
	g := e.ONNX
	var c carried
	g.Scope("first", func() { c = e.first() })
	fields := c.fields(e.o)
	state := make([]onnx.Value, len(fields))
	for i, f := range fields {
		state[i] = *f
	}
	cached, _ := e.cache.carried(g)
	var out []onnx.Value
	g.Scope("loop", func() { out = e.decode(g, append(state, cached...), 0) })
	var last carried
	for i, f := range last.fields(e.o) {
		*f = out[i]
	}
	return e.written(last), last.selected, last.found
}

// decode runs turns from a state until every row has ended, or has filled the room of
// a level: then it makes the next level's and goes on.
func (e *generation) decode(g *onnx.Graph, state []onnx.Value, level int) []onnx.Value {
	var c carried
	for i, f := range c.fields(e.o) {
		*f = state[i]
	}
	room := e.room
	last := level == len(e.o.rooms)
	goesOn := func(g *onnx.Graph, c carried) onnx.Value {
		if last {
			return e.again(g, c.done)
		}
		return g.And(e.again(g, c.done), g.Less(g.ReduceMax(c.count, 0, false), room))
	}
	limit := g.Sub(e.in[InputMaxNewTokens], onnx.Scalar(g, int64(1)))
	out := g.Loop(limit, goesOn(g, c), state, e.shapes(g), onnx.Dim{},
		func(b *onnx.Graph, _ onnx.Value, in []onnx.Value) (again onnx.Value, next, collected []onnx.Value) {
			n, next := e.turn(b, in)
			return goesOn(b, n), next, nil
		})
	if last {
		return out
	}
	for i, f := range c.fields(e.o) {
		*f = out[i]
	}
	// A loop of one turn at most: what is in it runs only for answers that are long.
	return g.Loop(onnx.Scalar(g, int64(1)), e.again(g, c.done), out, e.shapes(g), onnx.Dim{},
		func(b *onnx.Graph, _ onnx.Value, in []onnx.Value) (again onnx.Value, next, collected []onnx.Value) {
			e.room = e.cache.grow(b, level+1)
			return onnx.Scalar(b, false), e.decode(b, in, level+1), nil
		})
}

// roomOf is the tokens (int64 scalar) of an answer that a level has room for; the last
// has room for all.
func (e *Graph) roomOf(g *onnx.Graph, level int) onnx.Value {
	most := e.in[InputMaxNewTokens]
	if level < len(e.o.rooms) {
		return g.Min(most, onnx.Scalar(g, e.o.rooms[level]))
	}
	return most
}

// shapes are those of the carried values whose sizes change from turn to turn.
func (e *generation) shapes(g *onnx.Graph) []onnx.Shape {
	var c carried
	shapes := make([]onnx.Shape, len(c.fields(e.o)))
	if e.o.Drafted {
		shapes[len(shapes)-1] = onnx.Shape{e.Batch, g.NewSym("drafted")}
	}
	_, cached := e.cache.carried(g)
	return append(shapes, cached...)
}

// written is the answers (B,N), as long as the longest, filled up with the end
// token.
func (e *generation) written(c carried) onnx.Value {
	g := e.ONNX
	length := onnx.Sym("new_tokens")
	most := g.Unsqueeze(g.ReduceMax(c.count, 0, false), 0)
	answer := g.SliceTo(c.answer, 1, onnx.Const(g, []int64{0}, 1), most, length)
	index := g.Unsqueeze(g.Range(g.Squeeze(most, 0), length), 0)
	return g.Where(g.Less(index, g.Unsqueeze(c.count, 1)), answer, onnx.Scalar(g, int64(e.c.EOSTokenIDs[0])))
}

// first predicts the first token, which selects no state.
func (e *generation) first() carried {
	g := e.ONNX
	var c carried
	logits, hidden := e.logits, e.Hidden
	if e.o.Penalty {
		c.seen = e.promptTokens(logits.Dim(1))
	}
	rows := g.SizeOf(hidden, 0)
	c.token = g.PenalisedArgMax(logits, c.seen, e.in[InputPenalty], onnx.Value{})
	c.count = onnx.Full(g, int64(1), rows, e.Batch)
	if e.o.TeacherForced {
		c.token = g.Squeeze(e.teacherAt(g, onnx.Full(g, int64(0), g.Concat(0, onnx.Dim{}, rows, onnx.Const(g, []int64{1}, 1)), e.Batch, onnx.N(1))), 1)
	}
	room := g.Add(g.Unsqueeze(e.in[InputMaxNewTokens], 0), onnx.Const(g, []int64{int64(e.windowSize())}, 1))
	blank := onnx.Full(g, int64(0), g.Concat(0, onnx.Dim{}, rows, room), e.Batch, onnx.Sym("room"))
	column := g.Unsqueeze(c.token, 1)
	c.answer = g.ScatterElements(blank, g.Sub(column, column), column, 1)
	c.done = g.Or(e.ends(g, c.token), g.Less(e.in[InputMaxNewTokens], onnx.Scalar(g, int64(2))))
	if watched := int64(len(e.o.Watched)); watched > 0 {
		perToken := g.Concat(0, onnx.Dim{}, rows, onnx.Const(g, []int64{watched}, 1))
		c.found = onnx.Full(g, false, perToken, e.Batch, onnx.N(watched))
		states := g.Concat(0, onnx.Dim{}, perToken, onnx.Const(g, []int64{int64(e.c.HiddenSize)}, 1))
		c.selected = g.Cast(onnx.Full(g, float32(0), states, e.Batch, onnx.N(watched), hidden.Dim(1)), e.o.DType)
	}
	if e.o.Penalty {
		c.seen = e.mark(g, c.seen, column)
	}
	if e.o.Drafted {
		start := g.Expand(e.in[InputDraftState], rows, e.Batch)
		e.draftOn(g, &c, start)
	}
	return c
}

// turn runs the newest token and its draft tokens through the model and takes
// over what it predicts.
func (e *generation) turn(g *onnx.Graph, in []onnx.Value) (n carried, next []onnx.Value) {
	var c carried
	fields := c.fields(e.o)
	for i, f := range fields {
		*f = in[i]
	}
	s := &step{generation: e, g: g, carried: c}
	s.open()
	ids := g.ReshapeLike(s.tokens, onnx.Const(g, []int64{-1}, 1), e.Batch.Times(s.window.dim))
	x := g.Gather(e.language.embedding(), ids, 0)
	sum, branch, keep := e.cache.step(g, s.window, in[len(fields):], func(a attention) (sum, branch onnx.Value) {
		return e.language.layers(g, x, e.language.textRope(g, s.positions), a, images{}, onnx.Value{})
	})
	hidden := e.language.final(g, sum, branch)
	s.predict(hidden)
	s.accept()
	s.keepStates(hidden)
	n = s.close()
	for _, f := range n.fields(e.o) {
		next = append(next, *f)
	}
	return n, append(next, keep(s.kept)...)
}

// watched is the ids (1,watched) of the watched tokens.
func (e *generation) watched(g *onnx.Graph) onnx.Value {
	ids := make([]int64, len(e.o.Watched))
	for i, id := range e.o.Watched {
		ids[i] = int64(id)
	}
	return onnx.Const(g, ids, 1, int64(len(ids)))
}

// ends tells which tokens end their row.
func (e *generation) ends(g *onnx.Graph, token onnx.Value) onnx.Value {
	var any onnx.Value
	for _, ids := range spans(e.c.EOSTokenIDs) {
		first := onnx.Scalar(g, int64(ids.first))
		var is onnx.Value
		if ids.last == ids.first {
			is = g.Equal(token, first)
		} else {
			is = g.Not(g.Or(g.Less(token, first), g.Greater(token, onnx.Scalar(g, int64(ids.last)))))
		}
		if any.Valid() {
			is = g.Or(any, is)
		}
		any = is
	}
	return any
}

// span is token ids from first to last.
type span struct{ first, last int32 }

// spans are the ids as few spans: a node for each of very many, as checkpoints of random
// weights have them, takes the runtime longer to load than all else.
func spans(ids []int32) []span {
	var all []span
	for _, id := range slices.Sorted(slices.Values(ids)) {
		if n := len(all); n > 0 && id <= all[n-1].last+1 {
			all[n-1].last = id
			continue
		}
		all = append(all, span{id, id})
	}
	return all
}

// again is whether some row (B) is not done.
func (e *generation) again(g *onnx.Graph, done onnx.Value) onnx.Value {
	return g.Cast(g.ReduceMax(g.Cast(g.Not(done), onnx.Int32), 0, false), onnx.Bool)
}

// teacherAt is the teacher-forced tokens at the places index (B,n) of the answer.
func (e *generation) teacherAt(g *onnx.Graph, index onnx.Value) onnx.Value {
	last := g.Sub(g.SizeOf(e.in[InputForced], 1), onnx.Const(g, []int64{1}, 1))
	return g.GatherElements(e.in[InputForced], g.Min(index, last), 1)
}

// draftOn moves the draft on from the given states (B) by the newest tokens and
// takes draft tokens as far as any row's state knows them.
func (e *generation) draftOn(g *onnx.Graph, c *carried, from onnx.Value) {
	class := g.Cast(g.Gather(e.in[InputDraftClasses], c.token, 0), onnx.Int64)
	at := g.Add(g.Mul(from, e.in[InputDraftWidth]), class)
	c.state = g.Cast(g.Gather(e.in[InputDraftNext], at, 0), onnx.Int64)
	known := g.Gather(e.in[InputDraftLengths], c.state, 0)
	known = g.Where(c.done, onnx.Scalar(g, int64(0)), known)
	size := g.Unsqueeze(g.ReduceMax(known, 0, false), 0)
	rows := g.Gather(e.in[InputDraftTokens], c.state, 0)
	c.drafted = g.SliceTo(rows, 1, onnx.Const(g, []int64{0}, 1), size, g.NewSym("drafted"))
}
