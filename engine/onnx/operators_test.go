package onnx_test

import (
	"fmt"
	"testing"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/orttest"
)

type operator struct {
	name  string
	build func(s *sketch) []onnx.Value
	want  []string // type and shape of each output
}

func one(v onnx.Value) []onnx.Value { return []onnx.Value{v} }

var n = onnx.N

func elementwise() []operator {
	two := func(f func(g *onnx.Graph, a, b onnx.Value) onnx.Value, dtype onnx.DType) func(*sketch) []onnx.Value {
		return func(s *sketch) []onnx.Value {
			return one(f(s.Graph, s.in(dtype, batch, n(1), n(4)), s.in(dtype, n(3), n(4))))
		}
	}
	same := func(f func(g *onnx.Graph, x onnx.Value) onnx.Value, dtype onnx.DType) func(*sketch) []onnx.Value {
		return func(s *sketch) []onnx.Value { return one(f(s.Graph, s.in(dtype, batch, n(3)))) }
	}
	floats, truths := []string{"float32 (batch,3,4)"}, []string{"bool (batch,3,4)"}
	kept := []string{"float32 (batch,3)"}
	return []operator{
		{"Add broadcasts", two((*onnx.Graph).Add, f32), floats},
		{"Sub broadcasts", two((*onnx.Graph).Sub, f32), floats},
		{"Mul broadcasts", two((*onnx.Graph).Mul, f32), floats},
		{"Div broadcasts", two((*onnx.Graph).Div, f32), floats},
		{"Min broadcasts", two((*onnx.Graph).Min, f32), floats},
		{"Max broadcasts", two((*onnx.Graph).Max, f32), floats},
		{"Equal gives bools", two((*onnx.Graph).Equal, i64), truths},
		{"Equal takes bools", two((*onnx.Graph).Equal, flag), truths},
		{"Greater gives bools", two((*onnx.Graph).Greater, f32), truths},
		{"Less gives bools", two((*onnx.Graph).Less, i32), truths},
		{"And takes bools", two((*onnx.Graph).And, flag), truths},
		{"Or takes bools", two((*onnx.Graph).Or, flag), truths},
		{"Not takes bools", same((*onnx.Graph).Not, flag), []string{"bool (batch,3)"}},
		{"Neg", same((*onnx.Graph).Neg, f32), kept},
		{"Sqrt", same((*onnx.Graph).Sqrt, f32), kept},
		{"Sin", same((*onnx.Graph).Sin, f32), kept},
		{"Cos", same((*onnx.Graph).Cos, f32), kept},
		{"Tanh", same((*onnx.Graph).Tanh, f32), kept},
		{"Relu", same((*onnx.Graph).Relu, f32), kept},
		{"Sigmoid", same((*onnx.Graph).Sigmoid, f32), kept},
		{"Gelu", same((*onnx.Graph).Gelu, f32), kept},
		{"Silu", same((*onnx.Graph).Silu, f32), kept},
		{"Round", same((*onnx.Graph).Round, f32), kept},
		{"Clip", same(func(g *onnx.Graph, x onnx.Value) onnx.Value { return g.Clip(x, 0, 1) }, f32), kept},
		{"Softmax", same(func(g *onnx.Graph, x onnx.Value) onnx.Value { return g.Softmax(x, -1) }, f32), kept},
		{"Cast", same(func(g *onnx.Graph, x onnx.Value) onnx.Value { return g.Cast(x, i32) }, f32), []string{"int32 (batch,3)"}},
		{"Where broadcasts all three", func(s *sketch) []onnx.Value {
			return one(s.Where(s.in(flag, batch, n(1), n(1)), s.in(f32, n(3), n(1)), s.in(f32, n(4))))
		}, floats},
	}
}

func layout() []operator {
	return []operator{
		{"Reshape splits and joins known sizes", func(s *sketch) []onnx.Value {
			return one(s.Reshape(s.in(f32, batch, n(12)), batch, n(3), n(4)))
		}, []string{"float32 (batch,3,4)"}},
		{"Reshape joins a symbol with a number", func(s *sketch) []onnx.Value {
			return one(s.Reshape(s.in(f32, batch, n(3), n(4)), batch.Times(n(3)), n(4)))
		}, []string{"float32 (3*batch,4)"}},
		{"Reshape joins two symbols", func(s *sketch) []onnx.Value {
			return one(s.Reshape(s.in(f32, batch, count, n(4)), count.Times(batch), n(4)))
		}, []string{"float32 (batch*count,4)"}},
		{"Reshape splits a product of symbols that stand where they stood", func(s *sketch) []onnx.Value {
			return one(s.Reshape(s.in(f32, batch, count.Times(n(4))), batch, count, n(4)))
		}, []string{"float32 (batch,count,4)"}},
		{"ReshapeLike takes sizes of the run", func(s *sketch) []onnx.Value {
			x, y := s.in(f32, batch.Times(n(3))), s.in(f32, batch, n(3))
			return one(s.ReshapeLike(x, s.ShapeOf(y), y.Shape()...))
		}, []string{"float32 (batch,3)"}},
		{"Transpose", func(s *sketch) []onnx.Value { return one(s.Transpose(s.in(f32, batch, n(3), n(4)), 2, 0, 1)) },
			[]string{"float32 (4,batch,3)"}},
		{"Unsqueeze inserts where the axes stand in the result", func(s *sketch) []onnx.Value {
			return one(s.Unsqueeze(s.in(f32, batch, n(3)), 0, 2))
		}, []string{"float32 (1,batch,1,3)"}},
		{"Squeeze from the end", func(s *sketch) []onnx.Value { return one(s.Squeeze(s.in(f32, batch, n(1), n(3)), -2)) },
			[]string{"float32 (batch,3)"}},
		{"Concat adds known sizes up", func(s *sketch) []onnx.Value {
			return one(s.Concat(-1, onnx.Dim{}, s.in(f32, batch, n(3)), s.in(f32, batch, n(4))))
		}, []string{"float32 (batch,7)"}},
		{"Concat names a symbolic sum", func(s *sketch) []onnx.Value {
			return one(s.Concat(0, onnx.Sym("both"), s.in(f32, batch, n(3)), s.in(f32, n(2), n(3))))
		}, []string{"float32 (both,3)"}},
		{"Split", func(s *sketch) []onnx.Value { return s.Split(s.in(f32, batch, n(7)), 1, 3, 4) },
			[]string{"float32 (batch,3)", "float32 (batch,4)"}},
		{"Slice counts from the end", func(s *sketch) []onnx.Value { return one(s.Slice(s.in(f32, batch, n(7)), 1, -3, -1)) },
			[]string{"float32 (batch,2)"}},
		{"SliceTo takes bounds of the run", func(s *sketch) []onnx.Value {
			x := s.in(f32, batch, n(7))
			return one(s.SliceTo(x, 1, onnx.Const(s.Graph, []int64{0}, 1), s.SizeOf(x, 0), batch))
		}, []string{"float32 (batch,batch)"}},
		{"Expand", func(s *sketch) []onnx.Value {
			return one(s.Expand(s.in(f32, n(1), n(3)), s.ShapeOf(s.in(f32, batch, n(3))), batch, n(3)))
		}, []string{"float32 (batch,3)"}},
		{"ShapeOf and SizeOf", func(s *sketch) []onnx.Value {
			x := s.in(f32, batch, n(3))
			return []onnx.Value{s.ShapeOf(x), s.SizeOf(x, -1)}
		}, []string{"int64 (2)", "int64 (1)"}},
		{"Full and Range take sizes of the run", func(s *sketch) []onnx.Value {
			x := s.in(f32, batch, n(3))
			return []onnx.Value{
				onnx.Full(s.Graph, true, s.ShapeOf(x), batch, n(3)),
				s.Range(s.Squeeze(s.SizeOf(x, 0), 0), batch),
			}
		}, []string{"bool (batch,3)", "int64 (batch)"}},
	}
}

func selection() []operator {
	return []operator{
		{"Gather puts the shape of the indices in", func(s *sketch) []onnx.Value {
			return one(s.Gather(s.in(f32, n(4), n(3)), s.in(i64, batch, count), 0))
		}, []string{"float32 (batch,count,3)"}},
		{"Gather by a scalar drops the axis", func(s *sketch) []onnx.Value {
			return one(s.Gather(s.in(f32, batch, n(3)), s.in(i64), 1))
		}, []string{"float32 (batch)"}},
		{"GatherElements", func(s *sketch) []onnx.Value {
			return one(s.GatherElements(s.in(f32, batch, n(3)), s.in(i64, batch, n(2)), 1))
		}, []string{"float32 (batch,2)"}},
		{"ScatterElements", func(s *sketch) []onnx.Value {
			return one(s.ScatterElements(s.in(f32, batch, n(3)), s.in(i64, batch, n(2)), s.in(f32, batch, n(2)), -1))
		}, []string{"float32 (batch,3)"}},
		{"ScatterND", func(s *sketch) []onnx.Value {
			return one(s.ScatterND(s.in(f32, batch, n(3)), s.in(i64, count, n(1)), s.in(f32, count, n(3))))
		}, []string{"float32 (batch,3)"}},
		{"ArgMax drops its axis", func(s *sketch) []onnx.Value { return one(s.ArgMax(s.in(f32, batch, n(3), n(4)), 1)) },
			[]string{"int64 (batch,4)"}},
		{"ReduceSum keeps its axis", func(s *sketch) []onnx.Value { return one(s.ReduceSum(s.in(f32, batch, n(3)), 1, true)) },
			[]string{"float32 (batch,1)"}},
		{"ReduceMean drops its axis", func(s *sketch) []onnx.Value { return one(s.ReduceMean(s.in(f32, batch, n(3)), -1, false)) },
			[]string{"float32 (batch)"}},
		{"ReduceMax of integers", func(s *sketch) []onnx.Value { return one(s.ReduceMax(s.in(i32, batch), 0, false)) },
			[]string{"int32 ()"}},
		{"ReduceMin", func(s *sketch) []onnx.Value { return one(s.ReduceMin(s.in(f32, n(3), batch), 0, true)) },
			[]string{"float32 (1,batch)"}},
		{"CumSum", func(s *sketch) []onnx.Value { return one(s.CumSum(s.in(i64, batch, n(3)), 1, true)) },
			[]string{"int64 (batch,3)"}},
	}
}

func products() []operator {
	return []operator{
		{"MatMul broadcasts batches", func(s *sketch) []onnx.Value {
			return one(s.MatMul(s.in(f32, batch, n(1), n(2), n(3)), s.in(f32, n(4), n(3), n(5))))
		}, []string{"float32 (batch,4,2,5)"}},
		{"MatMulT", func(s *sketch) []onnx.Value {
			return one(s.MatMulT(s.in(f32, batch, n(2), n(3)), s.in(f32, batch, n(5), n(3)), 0.5))
		}, []string{"float32 (batch,2,5)"}},
		{"Linear", func(s *sketch) []onnx.Value {
			return one(s.Linear(s.in(f32, batch, count, n(3)), s.in(f32, n(5), n(3)), s.in(f32, n(5))))
		}, []string{"float32 (batch,count,5)"}},
		{"Linear with a bias over several known sizes", func(s *sketch) []onnx.Value {
			return one(s.Linear(s.in(f32, n(2), batch, n(4), n(3)), s.in(f32, n(5), n(3)), s.in(f32, n(5))))
		}, []string{"float32 (2,batch,4,5)"}},
		{"Linear without a bias", func(s *sketch) []onnx.Value {
			return one(s.Linear(s.in(f32, batch, count, n(3)), s.in(f32, n(5), n(3)), none))
		}, []string{"float32 (batch,count,5)"}},
		{"LayerNorm", func(s *sketch) []onnx.Value {
			return one(s.LayerNorm(s.in(f32, batch, n(2), n(3)), s.in(f32, n(3)), s.in(f32, n(3)), 1e-5))
		}, []string{"float32 (batch,2,3)"}},
		{"RMSNorm", func(s *sketch) []onnx.Value {
			return one(s.RMSNorm(s.in(f32, batch, n(2), n(3)), s.in(f32, n(3)), 1e-6))
		}, []string{"float32 (batch,2,3)"}},
		{"SkipRMSNorm with a bias and one skip for all", func(s *sketch) []onnx.Value {
			normed, sum := s.SkipRMSNorm(s.in(f32, batch, n(2), n(4)), s.in(f32, n(1), n(2), n(4)), s.in(f32, n(4)), s.in(f32, n(4)), 1e-6)
			return []onnx.Value{normed, sum}
		}, []string{"float32 (batch,2,4)", "float32 (batch,2,4)"}},
		{"SkipRMSNorm of packed tokens", func(s *sketch) []onnx.Value {
			normed, sum := s.SkipRMSNorm(s.in(f32, count, n(4)), s.in(f32, count, n(4)), s.in(f32, n(4)), none, 1e-6)
			return []onnx.Value{normed, sum}
		}, []string{"float32 (count,4)", "float32 (count,4)"}},
		{"RotaryEmbedding from one row on", func(s *sketch) []onnx.Value {
			first := onnx.Const(s.Graph, []int64{0}, 1)
			return one(s.RotaryEmbedding(s.in(f32, batch, n(3), n(8)), first, s.in(f32, n(6), n(2)), s.in(f32, n(6), n(2)), 2, false))
		}, []string{"float32 (batch,3,8)"}},
		{"RotaryEmbedding by a row for each token", func(s *sketch) []onnx.Value {
			return one(s.RotaryEmbedding(s.in(f32, batch, count, n(8)), s.in(i64, batch, count), s.in(f32, n(6), n(2)), s.in(f32, n(6), n(2)), 2, true))
		}, []string{"float32 (batch,count,8)"}},
		{"MultiHeadAttention", func(s *sketch) []onnx.Value {
			return one(s.MultiHeadAttention(s.in(f32, batch, n(3), n(8)), s.in(f32, batch, count, n(8)), s.in(f32, batch, count, n(8)), 2, 0.3))
		}, []string{"float32 (batch,3,8)"}},
	}
}

func images() []operator {
	return []operator{
		{"Conv keeps sizes that its padding keeps", func(s *sketch) []onnx.Value {
			return one(s.Conv(s.in(f32, batch, n(2), count, count), s.in(f32, n(4), n(2), n(3), n(3)), s.in(f32, n(4)), 1))
		}, []string{"float32 (batch,4,count,count)"}},
		{"Conv without padding and bias", func(s *sketch) []onnx.Value {
			return one(s.Conv(s.in(f32, batch, n(2), n(7), n(8)), s.in(f32, n(4), n(2), n(3), n(5)), none, 0))
		}, []string{"float32 (batch,4,5,4)"}},
		{"ConvGroups", func(s *sketch) []onnx.Value {
			return one(s.ConvGroups(s.in(f32, batch, n(6), count, count), s.in(f32, n(9), n(2), n(3), n(3)), s.in(f32, n(9)), 1, 3))
		}, []string{"float32 (batch,9,count,count)"}},
		{"DepthToSpace", func(s *sketch) []onnx.Value {
			return one(s.DepthToSpace(s.in(f32, batch, n(8), count, n(3)), 2))
		}, []string{"float32 (batch,2,2*count,6)"}},
		{"ConvTranspose doubles", func(s *sketch) []onnx.Value {
			return one(s.ConvTranspose(s.in(f32, batch, n(2), n(5), count), s.in(f32, n(2), n(4), n(3), n(3)), s.in(f32, n(4))))
		}, []string{"float32 (batch,4,10,2*count)"}},
		{"UpsampleNearest", func(s *sketch) []onnx.Value {
			return one(s.UpsampleNearest(s.in(f32, batch, n(2), n(3), count), 2, false))
		},
			[]string{"float32 (batch,2,6,2*count)"}},
		{"UpsampleNearest with channels last", func(s *sketch) []onnx.Value {
			return one(s.UpsampleNearest(s.in(f32, batch, n(3), n(4), n(2)), 3, true))
		}, []string{"float32 (batch,9,12,2)"}},
		{"GroupNorm", func(s *sketch) []onnx.Value {
			return one(s.GroupNorm(s.in(f32, batch, n(4), n(3), count), s.in(f32, n(4)), s.in(f32, n(4)), 2, 1e-6))
		}, []string{"float32 (batch,4,3,count)"}},
	}
}

// gpu are operators for which a CPU has no kernel.
func gpu() []operator {
	half := func(s *sketch, v onnx.Value) onnx.Value { return s.Cast(v, onnx.Float16) }
	return []operator{
		{"GroupNormLast", func(s *sketch) []onnx.Value {
			return one(s.GroupNormLast(half(s, s.in(f32, batch, n(4), n(4), n(320))), s.in(f32, n(320)), s.in(f32, n(320)), 32, 1e-5, true))
		}, []string{"float16 (batch,4,4,320)"}},
		{"ConvLast", func(s *sketch) []onnx.Value {
			weight := half(s, onnx.Const(s.Graph, make([]float32, 16*3*3*8), 16, 3, 3, 8))
			return one(s.ConvLast(half(s, s.in(f32, batch, n(5), n(6), n(8))), weight, half(s, s.in(f32, n(16)))))
		}, []string{"float16 (batch,5,6,16)"}},
		{"PagedAttention", paged, []string{"bfloat16 (6,128)"}},
	}
}

// paged attends over two new rows of three tokens.
func paged(s *sketch) []onnx.Value {
	g := s.Graph
	cache := func(fill float32) onnx.Value {
		page := []int64{2, 256, 1, 64}
		scalar := g.Reshape(g.ScalarOf(onnx.BFloat16, fill), n(1), n(1), n(1), n(1))
		return g.Expand(scalar, onnx.Const(g, page, 4), onnx.Dims(page...)...)
	}
	tokens := func(width int64) onnx.Value { return g.Cast(s.in(f32, n(6), n(width)), onnx.BFloat16) }
	return one(g.PagedAttention(onnx.Paged{
		Query: tokens(128), Key: tokens(64), Value: tokens(64),
		KeyCache: cache(1), ValueCache: cache(2),
		Ends: onnx.Const(g, []int32{0, 3, 6}, 3), Past: onnx.Const(g, []int32{0, 0}, 2),
		Table: onnx.Const(g, []int32{0, 1}, 2, 1), Bounds: onnx.Const(g, []int32{3, 3}, 2),
		Heads: 2, KVHeads: 1,
	}))
}

func operators() []operator {
	var all []operator
	for _, some := range [][]operator{elementwise(), layout(), selection(), products(), images()} {
		all = append(all, some...)
	}
	return all
}

func TestOperatorsInferTypesAndShapes(t *testing.T) {
	for _, op := range append(operators(), gpu()...) {
		t.Run(op.name, func(t *testing.T) {
			s := newSketch()
			outs := op.build(s)
			if err := s.Err(); err != nil {
				t.Fatal(err)
			}
			if len(outs) != len(op.want) {
				t.Fatalf("%d outputs, want %d", len(outs), len(op.want))
			}
			for i, v := range outs {
				if got := fmt.Sprintf("%v %v", v.DType(), v.Shape()); got != op.want[i] {
					t.Errorf("output %d is %s, want %s", i, got, op.want[i])
				}
			}
		})
	}
}

// agree runs an operator and holds the types and shapes that were inferred
// against those that come out.
func agree(t *testing.T, op operator, o ort.SessionOptions) {
	s := newSketch()
	outs := op.build(s)
	var want []string
	for i, v := range outs {
		dtype := v.DType()
		if dtype.Float() { // half precision cannot leave a session
			v, dtype = s.Cast(v, f32), f32
		}
		s.Output(fmt.Sprintf("out%d", i), v)
		want = append(want, fmt.Sprintf("%v %v", dtype, onnx.Dims(usual.also("both", 4).shape(v.Shape())...)))
	}
	for i, out := range run(t, s.Graph, o, s.tensors(usual)...) {
		if got := typeOf(out); got != want[i] {
			t.Errorf("output %d came out as %s, inferred as %s", i, got, want[i])
		}
	}
}

// also is s with one more symbol.
func (s sizes) also(name string, size int64) sizes {
	more := sizes{name: size}
	for k, v := range s {
		more[k] = v
	}
	return more
}

func TestWhatIsInferredIsWhatTheRuntimeComputes(t *testing.T) {
	for _, op := range operators() {
		t.Run(op.name, func(t *testing.T) { agree(t, op, ort.SessionOptions{Threads: 1}) })
	}
}

func TestWhatIsInferredIsWhatAGPUComputes(t *testing.T) {
	provider := orttest.CUDA(t)[0]
	for _, op := range gpu() {
		t.Run(op.name, func(t *testing.T) { agree(t, op, ort.SessionOptions{Provider: provider}) })
	}
}
