package onnx_test

import (
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/onnx"
)

// mistake is a wrong use of an operator and what the error must tell.
type mistake struct {
	name  string
	build func(s *sketch)
	want  []string
}

func elementwiseMistakes() []mistake {
	return []mistake{
		{"shapes that do not broadcast", func(s *sketch) { s.Add(s.in(f32, batch, n(3)), s.in(f32, batch, n(4))) },
			[]string{"Add", "(batch,3)", "(batch,4)", "3 against 4"}},
		{"a symbol against another", func(s *sketch) { s.Mul(s.in(f32, batch), s.in(f32, count)) },
			[]string{"Mul", "batch against count"}},
		{"a symbol against a number", func(s *sketch) { s.Mul(s.in(f32, batch), s.in(f32, n(2))) },
			[]string{"Mul", "batch against 2"}},
		{"two types", func(s *sketch) { s.Sub(s.in(f32, batch), s.in(i64, batch)) },
			[]string{"Sub", "in0 is float32", "in1 is int64"}},
		{"an absent operand", func(s *sketch) { s.Add(s.in(f32, batch), none) }, []string{"Add: input 1 is missing"}},
		{"a sum of truths", func(s *sketch) { s.Add(s.in(flag, batch), s.in(flag, batch)) }, []string{"Add", "in0 is bool", "of numbers"}},
		{"a conjunction of numbers", func(s *sketch) { s.And(s.in(i64, batch), s.in(i64, batch)) }, []string{"And", "int64", "bool"}},
		{"a negation of numbers", func(s *sketch) { s.Not(s.in(i32, batch)) }, []string{"Not", "int32", "bool"}},
		{"an order of truths", func(s *sketch) { s.Less(s.in(flag, batch), s.in(flag, batch)) }, []string{"Less", "bool"}},
		{"a negative unsigned number", func(s *sketch) { s.Neg(s.in(onnx.Uint8, batch)) }, []string{"Neg", "uint8", "signed"}},
		{"a root of integers", func(s *sketch) { s.Sqrt(s.in(i64, batch)) }, []string{"Sqrt", "int64", "floating-point"}},
		{"an activation of integers", func(s *sketch) { s.Silu(s.in(i32, batch)) }, []string{"QuickGelu", "int32"}},
		{"a rounded integer", func(s *sketch) { s.Round(s.in(i64, batch)) }, []string{"Round", "int64"}},
		{"a clipped integer", func(s *sketch) { s.Clip(s.in(i64, batch), 0, 1) }, []string{"Clip", "int64"}},
		{"a condition of numbers", func(s *sketch) { s.Where(s.in(f32, batch), s.in(f32, batch), s.in(f32, batch)) },
			[]string{"Where", "float32", "bool"}},
		{"a condition of another shape", func(s *sketch) { s.Where(s.in(flag, n(3)), s.in(f32, n(4)), s.in(f32, n(4))) },
			[]string{"Where", "do not broadcast"}},
		{"a softmax along no axis", func(s *sketch) { s.Softmax(s.in(f32, batch), 1) }, []string{"Softmax", "axis 1", "(batch)"}},
		{"a scalar of a type without one", func(s *sketch) { s.ScalarOf(flag, 1) }, []string{"constant", "bool"}},
	}
}

func layoutMistakes() []mistake {
	two := func(s *sketch) onnx.Value { return onnx.Const(s.Graph, []int64{1, 2}, 2) }
	return []mistake{
		{"a reshape to fewer elements", func(s *sketch) { s.Reshape(s.in(f32, batch, n(12)), batch, n(3), n(3)) },
			[]string{"Reshape", "12*batch", "9*batch"}},
		{"a reshape that loses a symbol", func(s *sketch) { s.Reshape(s.in(f32, batch, n(4)), n(8)) }, []string{"Reshape", "(batch,4)", "(8)"}},
		{"a reshape with two sizes to infer", func(s *sketch) { s.Reshape(s.in(f32, batch.Times(count), n(4)), n(4), batch, count) },
			[]string{"Reshape", "two dimensions that only the run can tell"}},
		{"a reshape of no elements", func(s *sketch) { s.Reshape(s.in(f32, n(2), n(0)), n(0)) }, []string{"Reshape", "(2,0)", "no elements"}},
		{"a reshape by sizes of another rank", func(s *sketch) { s.ReshapeLike(s.in(f32, n(2)), two(s), n(2)) },
			[]string{"Reshape", "int64 (2)", "int64 (1)"}},
		{"a transpose of another rank", func(s *sketch) { s.Transpose(s.in(f32, batch, n(2)), 0, 1, 2) }, []string{"Transpose", "[0 1 2]", "(batch,2)"}},
		{"a transpose that repeats an axis", func(s *sketch) { s.Transpose(s.in(f32, batch, n(2)), 1, 1) }, []string{"Transpose", "[1 1]"}},
		{"an axis to insert twice", func(s *sketch) { s.Unsqueeze(s.in(f32, batch), 1, 1) }, []string{"Unsqueeze", "[1 1]"}},
		{"an axis to insert beyond the result", func(s *sketch) { s.Unsqueeze(s.in(f32, batch), 2) }, []string{"Unsqueeze", "[2]"}},
		{"a squeeze of a size that is not one", func(s *sketch) { s.Squeeze(s.in(f32, batch, n(3)), 1) }, []string{"Squeeze", "axis 1", "not 1"}},
		{"a squeeze of a symbol", func(s *sketch) { s.Squeeze(s.in(f32, batch), 0) }, []string{"Squeeze", "(batch)", "not 1"}},
		{"a join of nothing", func(s *sketch) { s.Concat(0, batch) }, []string{"Concat", "no inputs"}},
		{"a join of other sizes beside the axis", func(s *sketch) { s.Concat(0, batch, s.in(f32, n(1), n(2)), s.in(f32, n(1), n(3))) },
			[]string{"Concat", "(1,2)", "(1,3)", "axis 0"}},
		{"a join of other ranks", func(s *sketch) { s.Concat(0, batch, s.in(f32, n(2)), s.in(f32, n(2), n(1))) }, []string{"Concat", "(2)", "(2,1)"}},
		{"a join of two types", func(s *sketch) { s.Concat(0, batch, s.in(f32, n(2)), s.in(i64, n(2))) }, []string{"Concat", "float32", "int64"}},
		{"a join whose sum has no name", func(s *sketch) { s.Concat(0, onnx.Dim{}, s.in(f32, batch), s.in(f32, n(2))) },
			[]string{"Concat", "axis 0", "no name"}},
		{"parts that do not fill", func(s *sketch) { s.Split(s.in(f32, batch, n(7)), 1, 3, 3) }, []string{"Split", "(batch,7)", "[3 3]"}},
		{"parts of a symbol", func(s *sketch) { s.Split(s.in(f32, batch), 0, 1, 1) }, []string{"Split", "(batch)"}},
		{"a slice of a symbol", func(s *sketch) { s.Slice(s.in(f32, batch), 0, 0, 1) }, []string{"Slice", "(batch)", "no known size"}},
		{"a slice beyond the end", func(s *sketch) { s.Slice(s.in(f32, n(3)), 0, 1, 4) }, []string{"Slice", "[1,4)", "(3)"}},
		{"a slice backwards", func(s *sketch) { s.Slice(s.in(f32, n(3)), 0, 2, 1) }, []string{"Slice", "[2,1)"}},
		{"bounds of two elements", func(s *sketch) { s.SliceTo(s.in(f32, batch), 0, two(s), two(s), count) }, []string{"Slice", "int64 (2)", "(1)"}},
		{"an expansion to a smaller shape", func(s *sketch) { s.Expand(s.in(f32, n(2), n(3)), two(s), n(1), n(3)) },
			[]string{"Expand", "(2,3)", "(1,3)"}},
		{"an expansion by floats", func(s *sketch) { s.Expand(s.in(f32, n(1)), s.in(f32, n(1)), n(2)) }, []string{"Expand", "float32", "int64"}},
		{"a fill by a matrix of sizes", func(s *sketch) { onnx.Full(s.Graph, true, s.in(i64, n(1), n(1)), batch) },
			[]string{"ConstantOfShape", "(1,1)"}},
		{"a range to a vector", func(s *sketch) { s.Range(s.in(i64, n(1)), batch) }, []string{"Range", "int64 (1)", "scalar"}},
		{"a constant of other sizes", func(s *sketch) { onnx.Const(s.Graph, []float32{1, 2, 3}, 2) }, []string{"constant", "(2)", "12 bytes"}},
	}
}

func selectionMistakes() []mistake {
	return []mistake{
		{"indices of floats", func(s *sketch) { s.Gather(s.in(f32, batch), s.in(f32, n(1)), 0) }, []string{"Gather", "indices are float32"}},
		{"a gather along no axis", func(s *sketch) { s.Gather(s.in(f32, batch), s.in(i64, n(1)), 1) }, []string{"Gather", "axis 1"}},
		{"element indices of another rank", func(s *sketch) { s.GatherElements(s.in(f32, batch, n(2)), s.in(i64, batch), 1) },
			[]string{"GatherElements", "(batch)", "(batch,2)"}},
		{"updates of another shape than their indices", func(s *sketch) {
			s.ScatterElements(s.in(f32, batch, n(4)), s.in(i64, batch, n(2)), s.in(f32, batch, n(3)), 1)
		}, []string{"ScatterElements", "(batch,2)", "(batch,3)"}},
		{"updates of another type", func(s *sketch) {
			s.ScatterElements(s.in(f32, batch), s.in(i64, batch), s.in(i64, batch), 0)
		}, []string{"ScatterElements", "float32", "int64"}},
		{"slices of another shape than their places", func(s *sketch) {
			s.ScatterND(s.in(f32, batch, n(4)), s.in(i64, count, n(1)), s.in(f32, count, n(3)))
		}, []string{"ScatterND", "(count,3)", "(count,4)"}},
		{"places longer than the rank", func(s *sketch) {
			s.ScatterND(s.in(f32, batch), s.in(i64, count, n(2)), s.in(f32, count))
		}, []string{"ScatterND", "(count,2)"}},
		{"the largest of truths", func(s *sketch) { s.ReduceMax(s.in(flag, batch), 0, false) }, []string{"ReduceMax", "bool"}},
		{"the place of the largest of truths", func(s *sketch) { s.ArgMax(s.in(flag, batch), 0) }, []string{"ArgMax", "bool"}},
		{"a sum along no axis", func(s *sketch) { s.ReduceSum(s.in(f32, batch), -2, false) }, []string{"ReduceSum", "axis -2", "(batch)"}},
		{"a running sum of truths", func(s *sketch) { s.CumSum(s.in(flag, batch), 0, false) }, []string{"CumSum", "bool"}},
	}
}

func productMistakes() []mistake {
	return []mistake{
		{"inner sizes that differ", func(s *sketch) { s.MatMul(s.in(f32, n(2), n(3)), s.in(f32, n(4), n(5))) },
			[]string{"MatMul", "inner dimensions 3 and 4 differ"}},
		{"a weight that is not transposed", func(s *sketch) { s.MatMulT(s.in(f32, batch, n(3)), s.in(f32, n(3), n(5)), 1) },
			[]string{"FusedMatMul", "in1", "inner dimensions 3 and 5 differ"}},
		{"a product of vectors", func(s *sketch) { s.MatMul(s.in(f32, n(2)), s.in(f32, n(2))) }, []string{"MatMul", "(2) by (2)"}},
		{"batches that do not broadcast", func(s *sketch) { s.MatMul(s.in(f32, n(2), n(3), n(4)), s.in(f32, n(3), n(4), n(5))) },
			[]string{"MatMul", "2 against 3"}},
		{"a bias of another width", func(s *sketch) { s.Linear(s.in(f32, batch, n(3)), s.in(f32, n(5), n(3)), s.in(f32, n(1))) },
			[]string{"Gemm", "(batch,3)", "in1 (5,3)", "in2 (1)"}},
		{"a norm of another width", func(s *sketch) { s.RMSNorm(s.in(f32, batch, n(3)), s.in(f32, n(4)), 1e-6) },
			[]string{"SimplifiedLayerNormalization", "in1 (4)", "(batch,3)"}},
		{"a norm without a bias", func(s *sketch) { s.LayerNorm(s.in(f32, batch, n(3)), s.in(f32, n(3)), none, 1e-6) },
			[]string{"LayerNormalization", "input 2 is missing"}},
		{"a skip of another shape", func(s *sketch) {
			s.SkipRMSNorm(s.in(f32, batch, n(3)), s.in(f32, n(1), n(3)), s.in(f32, n(3)), none, 1e-6)
		},
			[]string{"SkipSimplifiedLayerNormalization", "(batch,3)", "(1,3)"}},
		{"a norm's bias of another width", func(s *sketch) {
			s.SkipRMSNorm(s.in(f32, batch, n(3)), s.in(f32, batch, n(3)), s.in(f32, n(3)), s.in(f32, n(2)), 1e-6)
		}, []string{"SkipSimplifiedLayerNormalization", "in3 (2)"}},
		{"heads that do not divide the width", func(s *sketch) {
			x := s.in(f32, batch, n(3), n(8))
			s.MultiHeadAttention(x, x, x, 3, 0)
		}, []string{"MultiHeadAttention", "(batch,3,8)", "3 heads"}},
		{"keys and values of other lengths", func(s *sketch) {
			s.MultiHeadAttention(s.in(f32, batch, n(3), n(8)), s.in(f32, batch, n(4), n(8)), s.in(f32, batch, n(5), n(8)), 2, 0)
		}, []string{"MultiHeadAttention", "(batch,4,8)", "(batch,5,8)"}},
		{"cosines of another width", func(s *sketch) {
			table := s.in(f32, n(3), n(4))
			s.RotaryEmbedding(s.in(f32, batch, n(3), n(8)), s.in(i64, batch, n(3)), table, table, 2, false)
		}, []string{"RotaryEmbedding", "(3,4)", "heads of 4"}},
		{"positions of other tokens", func(s *sketch) {
			table := s.in(f32, n(3), n(2))
			s.RotaryEmbedding(s.in(f32, batch, n(3), n(8)), s.in(i64, batch, n(2)), table, table, 2, false)
		}, []string{"RotaryEmbedding", "positions (batch,2)", "(batch,3,8)"}},
	}
}

func imageMistakes() []mistake {
	return []mistake{
		{"a kernel for other channels", func(s *sketch) {
			s.Conv(s.in(f32, batch, n(3), n(8), n(8)), s.in(f32, n(4), n(2), n(3), n(3)), none, 1)
		},
			[]string{"Conv", "in1", "(4,2,3,3)"}},
		{"a bias for other channels", func(s *sketch) {
			s.Conv(s.in(f32, batch, n(2), n(8), n(8)), s.in(f32, n(4), n(2), n(3), n(3)), s.in(f32, n(3)), 1)
		}, []string{"Conv", "bias in2", "(3)"}},
		{"a convolution that changes a size of the run", func(s *sketch) {
			s.Conv(s.in(f32, batch, n(2), count, count), s.in(f32, n(4), n(2), n(3), n(3)), none, 0)
		},
			[]string{"Conv", "only the run can tell"}},
		{"a kernel larger than the image", func(s *sketch) {
			s.Conv(s.in(f32, batch, n(2), n(2), n(8)), s.in(f32, n(4), n(2), n(3), n(3)), none, 0)
		},
			[]string{"Conv", "(batch,2,2,8)", "(4,2,3,3)"}},
		{"a doubling kernel of 2x2", func(s *sketch) {
			s.ConvTranspose(s.in(f32, batch, n(2), n(8), n(8)), s.in(f32, n(2), n(4), n(2), n(2)), none)
		},
			[]string{"ConvTranspose", "not 3x3"}},
		{"groups that do not divide the channels", func(s *sketch) {
			s.GroupNorm(s.in(f32, batch, n(4), n(8), n(8)), s.in(f32, n(4)), s.in(f32, n(4)), 3, 1e-6)
		}, []string{"GroupNorm", "3 groups"}},
		{"a group norm of another width", func(s *sketch) {
			s.GroupNorm(s.in(f32, batch, n(4), n(8), n(8)), s.in(f32, n(4)), s.in(f32, n(2)), 2, 1e-6)
		}, []string{"GroupNorm", "in2 (2)", "4 channels"}},
		{"channels that groups do not divide", func(s *sketch) {
			s.ConvGroups(s.in(f32, batch, n(6), n(8), n(8)), s.in(f32, n(4), n(2), n(3), n(3)), none, 1, 3)
		}, []string{"Conv", "in1", "3 groups"}},
		{"groups of other channels", func(s *sketch) {
			s.ConvGroups(s.in(f32, batch, n(6), n(8), n(8)), s.in(f32, n(4), n(2), n(3), n(3)), none, 1, 2)
		}, []string{"Conv", "(batch,6,8,8)", "(4,2,3,3)"}},
		{"channels that make no squares", func(s *sketch) { s.DepthToSpace(s.in(f32, batch, n(6), n(8), n(8)), 2) },
			[]string{"DepthToSpace", "by 2"}},
		{"a scale of nothing", func(s *sketch) { s.UpsampleNearest(s.in(f32, batch, n(4), n(8), n(8)), 0, false) }, []string{"Resize", "by 0"}},
		{"an even kernel with channels last", func(s *sketch) {
			s.ConvLast(s.in(f32, batch, n(8), n(8), n(2)), s.in(f32, n(4), n(2), n(2), n(2)), none)
		},
			[]string{"NhwcConv", "(4,2,2,2)"}},
	}
}

func pagedMistakes() []mistake {
	with := func(change func(s *sketch, p *onnx.Paged)) func(s *sketch) {
		return func(s *sketch) {
			page := onnx.Dims(2, 256, 1, 64)
			p := onnx.Paged{
				Query: s.in(f32, n(6), n(128)), Key: s.in(f32, n(6), n(64)), Value: s.in(f32, n(6), n(64)), KeyCache: s.in(f32, page...), ValueCache: s.in(f32, page...),
				Ends: s.in(i32, n(3)), Past: s.in(i32, n(2)), Table: s.in(i32, n(2), n(1)), Bounds: s.in(i32, n(2)),
				Heads: 2, KVHeads: 1,
			}
			change(s, &p)
			s.PagedAttention(p)
		}
	}
	return []mistake{
		{"a width that is no number of heads", with(func(s *sketch, p *onnx.Paged) { p.Query = s.in(f32, n(6), n(127)) }), []string{"PagedAttention", "(6,127)"}},
		{"heads that share keys unevenly", with(func(_ *sketch, p *onnx.Paged) { p.KVHeads = 3 }), []string{"PagedAttention", "2 heads", "3 of keys"}},
		{"pages of other heads", with(func(s *sketch, p *onnx.Paged) { p.KeyCache = s.in(f32, n(2), n(256), n(2), n(64)) }), []string{"PagedAttention", "(2,256,2,64)"}},
		{"a table of int64", with(func(s *sketch, p *onnx.Paged) { p.Table = s.in(i64, n(2), n(1)) }), []string{"PagedAttention", "int64, not int32"}},
		{"keys of other heads", with(func(s *sketch, p *onnx.Paged) { p.Key = s.in(f32, n(6), n(32)) }), []string{"PagedAttention", "(6,32)", "1 heads of 64"}},
		{"values of fewer tokens", with(func(s *sketch, p *onnx.Paged) { p.Value = s.in(f32, n(5), n(64)) }), []string{"PagedAttention", "(5,64)"}},
		{"no bounds", with(func(_ *sketch, p *onnx.Paged) { p.Bounds = onnx.Value{} }), []string{"PagedAttention", "missing"}},
	}
}

func TestMistakesNameTheNodeAndItsShapes(t *testing.T) {
	var all []mistake
	for _, some := range [][]mistake{
		elementwiseMistakes(), layoutMistakes(), selectionMistakes(), productMistakes(), imageMistakes(), pagedMistakes(), loopMistakes(),
	} {
		all = append(all, some...)
	}
	for _, m := range all {
		t.Run(m.name, func(t *testing.T) {
			s := newSketch()
			s.Scope("block", func() { s.Scope("part", func() { m.build(s) }) })
			err := s.Err()
			if err == nil {
				t.Fatal("no error")
			}
			for _, part := range append(m.want, "onnx: block/part: ") {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not say %q", err, part)
				}
			}
			if _, marshalled := s.Marshal(); marshalled == nil || marshalled.Error() != err.Error() {
				t.Errorf("Marshal says %v, Err %v", marshalled, err)
			}
		})
	}
}

func TestTheFirstMistakeStays(t *testing.T) {
	s := newSketch()
	bad := s.Add(s.in(f32, n(2)), s.in(f32, n(3)))
	first := s.Err()
	if bad.Valid() || first == nil {
		t.Fatalf("a sum of two and three elements is %v, %v", bad.Shape(), first)
	}
	after := s.Relu(s.Mul(bad, s.in(f32, n(4))))
	if after.Valid() || s.Err() != first {
		t.Errorf("what follows a mistake is %v, error %v", after.Shape(), s.Err())
	}
	if valid := s.Relu(s.in(f32, n(4))); valid.Valid() {
		t.Error("nodes are still added after a mistake")
	}
}
