package onnx_test

import (
	"slices"
	"testing"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
)

// always goes on and carries what it is given.
func always(next func(g *onnx.Graph, turn onnx.Value, in []onnx.Value) (next, collected []onnx.Value)) onnx.LoopBody {
	return func(g *onnx.Graph, turn onnx.Value, in []onnx.Value) (onnx.Value, []onnx.Value, []onnx.Value) {
		carried, collected := next(g, turn, in)
		return onnx.Scalar(g, true), carried, collected
	}
}

func three(s *sketch) onnx.Value { return onnx.Scalar(s.Graph, int64(3)) }

func yes(s *sketch) onnx.Value { return onnx.Scalar(s.Graph, true) }

// still carries everything on as it is.
func still(g *onnx.Graph, _ onnx.Value, in []onnx.Value) (again onnx.Value, next, collected []onnx.Value) {
	return onnx.Scalar(g, true), in, nil
}

func loopMistakes() []mistake { return append(carriedMistakes(), bodyMistakes()...) }

// carriedMistakes are those of values that pass from turn to turn.
func carriedMistakes() []mistake {
	with := func(shape onnx.Shape, next func(g *onnx.Graph, x onnx.Value) []onnx.Value) func(*sketch) {
		return func(s *sketch) {
			var shapes []onnx.Shape
			if shape != nil {
				shapes = []onnx.Shape{shape}
			}
			s.Loop(three(s), yes(s), one(s.in(f32, batch, n(2))), shapes, onnx.Dim{},
				always(func(g *onnx.Graph, _ onnx.Value, in []onnx.Value) ([]onnx.Value, []onnx.Value) {
					return next(g, in[0]), nil
				}))
		}
	}
	keep := func(_ *onnx.Graph, x onnx.Value) []onnx.Value { return one(x) }
	grow := func(g *onnx.Graph, x onnx.Value) []onnx.Value { return one(g.Concat(1, onnx.Dim{}, x, x)) }
	return []mistake{
		{"a carried value that grows unannounced", with(nil, grow), []string{"Loop", "dimension 1 of carried value 0", "2, then 4"}},
		{"a carried value of another type", with(nil, func(g *onnx.Graph, x onnx.Value) []onnx.Value { return one(g.Cast(x, i64)) }),
			[]string{"Loop", "carried value 0", "float32", "int64"}},
		{"a carried value of another rank", with(nil, func(g *onnx.Graph, x onnx.Value) []onnx.Value { return one(g.Unsqueeze(x, 0)) }),
			[]string{"Loop", "(batch,2)", "(1,batch,2)"}},
		{"a size that stays but is another", with(onnx.Shape{batch, onnx.Sym("width")}, func(g *onnx.Graph, x onnx.Value) []onnx.Value {
			return one(g.Concat(0, onnx.Sym("twice"), x, x))
		}), []string{"Loop", "dimension 0", "batch, then twice"}},
		{"an announced shape of another rank", with(onnx.Shape{batch}, keep), []string{"Loop", "(batch,2) and then (batch)"}},
		{"an announced size that is a number", with(onnx.Shape{batch, n(3)}, keep), []string{"Loop", "dimension 1", "2 and then 3"}},
		{"fewer values out than in", with(nil, func(*onnx.Graph, onnx.Value) []onnx.Value { return nil }), []string{"Loop", "1 values carried in, 0 out"}},
		{"nothing carried on", with(nil, func(*onnx.Graph, onnx.Value) []onnx.Value { return make([]onnx.Value, 1) }), []string{"Loop", "missing"}},
		{"a mistake inside the body", with(nil, func(g *onnx.Graph, x onnx.Value) []onnx.Value { return one(g.MatMul(x, x)) }),
			[]string{"MatMul", "inner dimensions 2 and batch differ"}},
	}
}

// bodyMistakes are those of a loop's conditions and of what leaves its body.
func bodyMistakes() []mistake {
	return []mistake{
		{"a limit that is no scalar", func(s *sketch) {
			s.Loop(s.in(i64, n(1)), yes(s), one(s.in(f32, batch)), nil, onnx.Dim{}, still)
		}, []string{"Loop", "int64 (1)", "scalar"}},
		{"a limit of another type", func(s *sketch) { s.Loop(s.in(i32), yes(s), nil, nil, onnx.Dim{}, still) }, []string{"Loop", "int32", "int64"}},
		{"a start of numbers", func(s *sketch) { s.Loop(three(s), three(s), nil, nil, onnx.Dim{}, still) }, []string{"Loop", "int64", "bool"}},
		{"a decision for each row", func(s *sketch) {
			row := s.in(flag, batch)
			s.Loop(three(s), yes(s), nil, nil, onnx.Dim{}, func(*onnx.Graph, onnx.Value, []onnx.Value) (onnx.Value, []onnx.Value, []onnx.Value) {
				return row, nil, nil
			})
		}, []string{"Loop", "bool (batch)", "scalar"}},
		{"collected values without a number of turns", func(s *sketch) {
			s.Loop(three(s), yes(s), nil, nil, onnx.Dim{}, always(func(_ *onnx.Graph, turn onnx.Value, _ []onnx.Value) ([]onnx.Value, []onnx.Value) {
				return nil, one(turn)
			}))
		}, []string{"Loop", "number of turns"}},
		{"a value that leaves the body by the wrong door", func(s *sketch) {
			var inner onnx.Value
			s.Loop(three(s), yes(s), one(s.in(f32, batch)), nil, onnx.Dim{}, always(func(g *onnx.Graph, _ onnx.Value, in []onnx.Value) ([]onnx.Value, []onnx.Value) {
				inner = g.Relu(in[0])
				return one(inner), nil
			}))
			s.Relu(inner)
		}, []string{"Relu", "belongs to another graph"}},
		{"an output from inside the body", func(s *sketch) {
			s.Loop(three(s), yes(s), one(s.in(f32, batch)), nil, onnx.Dim{}, always(func(g *onnx.Graph, _ onnx.Value, in []onnx.Value) ([]onnx.Value, []onnx.Value) {
				s.Output("y", g.Relu(in[0]))
				return in, nil
			}))
		}, []string{`output "y"`, "belongs to another graph"}},
	}
}

func TestALoopAfterAMistakeHasItsResultsAllTheSame(t *testing.T) {
	s := newSketch()
	bad := s.Add(s.in(f32, n(2)), s.in(f32, n(3)))
	first := s.Err()
	out := s.Loop(s.in(i64), s.in(flag), []onnx.Value{bad, bad}, nil, onnx.Sym("turns"),
		func(b *onnx.Graph, turn onnx.Value, in []onnx.Value) (again onnx.Value, next, collected []onnx.Value) {
			return b.Less(turn, turn), in, []onnx.Value{b.Relu(in[0]), turn, turn}
		})
	if len(out) != 5 || s.Err() != first {
		t.Fatalf("%d results, error %v", len(out), s.Err())
	}
	for i, v := range out {
		if v.Valid() {
			t.Errorf("result %d is %v", i, v.Shape())
		}
	}
}

func TestALoopCarriesCollectsAndStops(t *testing.T) {
	g := onnx.New("fibonacci")
	limit, most := g.Input("limit", i64, onnx.Shape{}), g.Input("most", i64, onnx.Shape{})
	one := onnx.Scalar(g, int64(1))
	turns := onnx.Sym("turns")
	out := g.Loop(limit, g.Less(onnx.Scalar(g, int64(0)), limit), []onnx.Value{one, one}, nil, turns,
		func(b *onnx.Graph, turn onnx.Value, in []onnx.Value) (again onnx.Value, next, collected []onnx.Value) {
			sum := b.Add(in[0], in[1])
			return b.Less(sum, most), []onnx.Value{in[1], sum}, []onnx.Value{in[0], turn, most}
		})
	if got := out[2].Shape(); !got.Equal(onnx.Shape{turns}) {
		t.Errorf("collected scalars have shape %v", got)
	}
	for i, name := range []string{"last", "sum", "row", "turn", "outer"} {
		g.Output(name, out[i])
	}
	for name, test := range map[string]struct {
		limit, most    int64
		last, sum      int64
		row            []int64
		turns, repeats []int64
	}{
		"the limit ends it":           {4, 1000, 5, 8, []int64{1, 1, 2, 3}, []int64{0, 1, 2, 3}, []int64{1000, 1000, 1000, 1000}},
		"the body ends it":            {100, 5, 3, 5, []int64{1, 1, 2}, []int64{0, 1, 2}, []int64{5, 5, 5}},
		"it does not begin":           {0, 5, 1, 1, nil, nil, nil},
		"its last turn is its first":  {1, 1000, 1, 2, []int64{1}, []int64{0}, []int64{1000}},
		"it ends after its first one": {9, 2, 1, 2, []int64{1}, []int64{0}, []int64{2}},
	} {
		t.Run(name, func(t *testing.T) {
			out := run(t, g, ort.SessionOptions{Threads: 1}, ort.Int64s(nil, []int64{test.limit}), ort.Int64s(nil, []int64{test.most}))
			for i, want := range [][]int64{{test.last}, {test.sum}, test.row, test.turns, test.repeats} {
				if got := out[i].Int64s(); !slices.Equal(got, want) {
					t.Errorf("output %d is %v, want %v", i, got, want)
				}
			}
		})
	}
}

func TestACarriedValueMayGrowWhereItsShapeSaysSo(t *testing.T) {
	g := onnx.New("doubling")
	limit, x := g.Input("limit", i64, onnx.Shape{}), g.Input("x", f32, onnx.Shape{batch, n(1)})
	width := onnx.Sym("width")
	out := g.Loop(limit, onnx.Scalar(g, true), []onnx.Value{x, x}, []onnx.Shape{{batch, width}}, onnx.Dim{},
		always(func(b *onnx.Graph, _ onnx.Value, in []onnx.Value) ([]onnx.Value, []onnx.Value) {
			return []onnx.Value{b.Concat(1, onnx.Sym("twice"), in[0], in[0]), b.Add(in[1], in[1])}, nil
		}))
	g.Output("grown", out[0])
	g.Output("doubled", out[1])
	got := run(t, g, ort.SessionOptions{Threads: 1}, ort.Int64s(nil, []int64{3}), ort.Float32s([]int64{2, 1}, []float32{1, 5}))
	if want := []int64{2, 8}; !slices.Equal(got[0].Shape, want) {
		t.Errorf("grew to %v, want %v", got[0].Shape, want)
	}
	if want := []float32{8, 40}; !slices.Equal(got[1].Float32s(), want) {
		t.Errorf("doubled to %v, want %v", got[1].Float32s(), want)
	}
}

func TestLoopsNestAndSeeWhatIsAroundThem(t *testing.T) {
	g := onnx.New("powers")
	x := g.Input("x", f32, onnx.Shape{batch})
	times := func(count int64) onnx.Value { return onnx.Scalar(g, count) }
	yes := onnx.Scalar(g, true)
	// Two turns of an outer loop, each of which multiplies by x three times.
	outer := g.Loop(times(2), yes, one(x), nil, onnx.Dim{}, always(func(b *onnx.Graph, _ onnx.Value, in []onnx.Value) ([]onnx.Value, []onnx.Value) {
		inner := b.Loop(times(3), yes, in, nil, onnx.Dim{}, always(func(c *onnx.Graph, _ onnx.Value, in []onnx.Value) ([]onnx.Value, []onnx.Value) {
			return one(c.Mul(in[0], x)), nil
		}))
		return inner, nil
	}))
	g.Output("y", outer[0])
	got := run(t, g, ort.SessionOptions{Threads: 1}, ort.Float32s([]int64{2}, []float32{2, 3}))[0].Float32s()
	if want := []float32{128, 2187}; !slices.Equal(got, want) { // the 7th powers
		t.Errorf("%v, want %v", got, want)
	}
}

func TestALoopMayPassOnWhatIsNotItsOwn(t *testing.T) {
	g := onnx.New("passing")
	x, y := g.Input("x", f32, onnx.Shape{batch}), g.Input("y", f32, onnx.Shape{batch})
	out := g.Loop(onnx.Scalar(g, int64(2)), onnx.Scalar(g, true), []onnx.Value{x, x, x}, nil, onnx.Dim{},
		always(func(_ *onnx.Graph, _ onnx.Value, in []onnx.Value) ([]onnx.Value, []onnx.Value) {
			return []onnx.Value{in[0], y, y}, nil // an input, a value from outside, the same once more
		}))
	for i, name := range []string{"kept", "outer", "again"} {
		g.Output(name, out[i])
	}
	got := run(t, g, ort.SessionOptions{Threads: 1}, ort.Float32s([]int64{1}, []float32{3}), ort.Float32s([]int64{1}, []float32{4}))
	for i, want := range []float32{3, 4, 4} {
		if v := got[i].Float32s()[0]; v != want {
			t.Errorf("output %d is %v, want %v", i, v, want)
		}
	}
}
