package qwenvl

import (
	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/qwenvl/draft"
)

// step is one turn of the decoding loop.
type step struct {
	*generation
	carried
	g *onnx.Graph

	window    window
	tokens    onnx.Value // (B,window) int64: the newest token and the draft tokens
	index     onnx.Value // (1,window) int64: 0, 1, ...
	places    onnx.Value // (B,window) int64: where the predictions stand in the answer
	predicted onnx.Value // (B,window) int64: the token behind each of tokens
	positions onnx.Value // (B*window) int64: of the window's tokens
	kept      onnx.Value // (B,window) bool: the predictions that belong to the answer
	gained    onnx.Value // (B) int64: how many
}

// open lays the window out.
func (s *step) open() {
	g := s.g
	s.tokens, s.window.dim = g.Unsqueeze(s.token, 1), onnx.N(1)
	s.window.size = onnx.Scalar(g, int64(1))
	if s.o.Drafted {
		s.window.dim = g.NewSym("window")
		s.tokens = g.Concat(1, s.window.dim, s.tokens, s.carried.drafted)
		s.window.size = g.Squeeze(g.SizeOf(s.tokens, 1), 0)
	}
	before := g.Sub(g.Add(s.in[InputLengths], s.count), onnx.Scalar(g, int64(1)))
	s.window.past = g.Cast(before, onnx.Int32)
	s.index = g.Unsqueeze(g.Range(s.window.size, s.window.dim), 0)
	s.places = g.Add(g.Unsqueeze(s.count, 1), s.index)
	first := g.Add(before, s.in[InputDeltas])
	at := g.Add(g.Unsqueeze(first, 1), s.index)
	s.positions = g.ReshapeLike(at, onnx.Const(g, []int64{-1}, 1), s.Batch.Times(s.window.dim))
}

// predict takes the argmax of the logits behind every token of the window.
func (s *step) predict(hidden onnx.Value) {
	g := s.g
	var tokens onnx.Value
	if s.o.Penalty && s.o.Drafted {
		tokens = s.tokens
	}
	s.predicted = s.perRow(g.PenalisedArgMax(s.language.head(g, hidden), s.seen, s.in[InputPenalty], tokens))
	if s.o.TeacherForced {
		s.predicted = s.teacherAt(g, s.places)
	}
}

// perRow is x (B*window) as (B,window).
func (s *step) perRow(x onnx.Value) onnx.Value {
	g := s.g
	sizes := g.Concat(0, onnx.Dim{}, onnx.Const(g, []int64{-1}, 1), g.Unsqueeze(s.window.size, 0))
	return g.ReshapeLike(x, sizes, s.Batch, s.window.dim)
}

// accept finds the predictions that belong to the answer: those behind draft
// tokens that were right, not behind an end token, and not beyond the limit.
func (s *step) accept() {
	g := s.g
	s.kept = g.And(g.Less(s.places, s.in[InputMaxNewTokens]), g.Unsqueeze(g.Not(s.done), 1))
	if s.o.Drafted {
		// Before token j of the window: draft tokens that were rejected and end
		// tokens that were predicted.
		drafted := g.SliceTo(s.tokens, 1, onnx.Const(g, []int64{1}, 1), g.Unsqueeze(s.window.size, 0), s.carried.drafted.Dim(1))
		most := g.Sub(g.Unsqueeze(s.window.size, 0), onnx.Const(g, []int64{1}, 1))
		behind := g.SliceTo(s.predicted, 1, onnx.Const(g, []int64{0}, 1), most, s.carried.drafted.Dim(1))
		stop := g.Or(g.Not(g.Equal(drafted, behind)), s.ends(g, behind))
		first := g.Cast(g.Unsqueeze(s.done, 1), onnx.Int32)
		stops := g.Concat(1, s.window.dim, first, g.Cast(stop, onnx.Int32))
		s.kept = g.And(s.kept, g.Less(g.CumSum(stops, 1, false), onnx.Scalar(g, int32(1))))
	}
	s.gained = g.ReduceSum(g.Cast(s.kept, onnx.Int64), 1, false)
}

// keepStates keeps the hidden states (B*window,hidden) that predicted a watched token
// for the first time.
func (s *step) keepStates(hidden onnx.Value) {
	if len(s.o.Watched) == 0 {
		return
	}
	g := s.g
	is := g.Equal(g.Unsqueeze(s.predicted, 2), g.Unsqueeze(s.watched(g), 0)) // (B,window,watched)
	is = g.And(is, g.Unsqueeze(s.kept, 2))
	is = g.And(is, g.Unsqueeze(g.Not(s.found), 1))
	hits := g.Cast(is, onnx.Int32)
	hit := g.Cast(g.ReduceMax(hits, 1, false), onnx.Bool) // (B,watched)
	var states onnx.Value
	if !s.o.Drafted {
		states = g.Unsqueeze(hidden, 1)
	} else {
		states = g.Gather(hidden, g.Add(g.ArgMax(hits, 1), g.Unsqueeze(s.rowStarts(), 1)), 0)
	}
	s.selected = g.Where(g.Unsqueeze(hit, 2), states, s.selected)
	s.found = g.Or(s.found, hit)
}

// rowStarts is where each row (B) begins among all tokens of the window.
func (s *step) rowStarts() onnx.Value {
	g := s.g
	rows := g.Range(g.Squeeze(g.SizeOf(s.token, 0), 0), s.Batch)
	return g.Mul(rows, s.window.size)
}

// close writes the answer on and carries everything to the next turn.
func (s *step) close() carried {
	g, n := s.g, s.carried
	n.answer = g.ScatterElements(s.answer, s.places, s.predicted, 1)
	n.count = g.Add(s.count, s.gained)
	one := onnx.Scalar(g, int64(1))
	last := g.Max(g.Sub(s.gained, one), onnx.Scalar(g, int64(0))) // index of the newest token
	newest := g.Squeeze(g.GatherElements(s.predicted, g.Unsqueeze(last, 1), 1), 1)
	n.token = g.Where(s.done, s.token, newest)
	ended := g.Or(s.ends(g, n.token), g.Not(g.Less(n.count, s.in[InputMaxNewTokens])))
	n.done = g.Or(s.done, ended)
	if s.o.Penalty {
		n.seen = s.mark(g, s.seen, g.Where(s.kept, s.predicted, g.Unsqueeze(s.token, 1)))
	}
	if s.o.Drafted {
		row := g.Mul(s.state, onnx.Scalar(g, int64(draft.Longest+1)))
		s.draftOn(g, &n, g.Cast(g.Gather(s.in[InputDraftAlong], g.Add(row, last), 0), onnx.Int64))
	}
	return n
}
