package onnx_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/kernels/kernelstest"
	"github.com/denseflow/densereward/engine/ort/orttest"
)

// fused is a use of a custom operator: the inputs that it takes and what it makes of
// them.
type fused struct {
	name   string
	dtype  onnx.DType // of the operator's numbers
	steps  bool       // results in eight bits may be a step of theirs away
	sums   float64    // how far sums of products on a card may be away
	inputs []ort.Tensor
	build  func(g *onnx.Graph, in []onnx.Value) []onnx.Value
}

// normal is normal numbers of some sizes.
func normal(rng *rand.Rand, sizes ...int64) ort.Tensor {
	n := int64(1)
	for _, d := range sizes {
		n *= d
	}
	data := make([]float32, n)
	for i := range data {
		data[i] = float32(rng.NormFloat64() * 2)
	}
	return ort.Float32s(sizes, data)
}

func swiGLUs(rng *rand.Rand, large bool) (all []fused) {
	shapes := [][]int64{{1, 16}, {3, 48}, {70, 4096}, {2, 5, 128}, {0, 32}}
	if large {
		shapes = append(shapes, []int64{20000, 1024})
	}
	for _, shape := range shapes {
		wide := shape[len(shape)-1]
		x, bias := normal(rng, shape...), normal(rng, wide)
		all = append(all,
			fused{name: fmt.Sprintf("swiglu of %v", shape), dtype: onnx.BFloat16, inputs: []ort.Tensor{x}, build: func(g *onnx.Graph, in []onnx.Value) []onnx.Value {
				return one(onnx.SwiGLU(g, in[0], onnx.Value{}))
			}},
			fused{name: fmt.Sprintf("swiglu of %v with a bias", shape), dtype: onnx.BFloat16, inputs: []ort.Tensor{x, bias}, build: func(g *onnx.Graph, in []onnx.Value) []onnx.Value {
				return one(onnx.SwiGLU(g, in[0], in[1]))
			}})
	}
	return all
}

func rotatedHalves(rng *rand.Rand, _ bool) (all []fused) {
	for _, of := range []struct{ tokens, heads, kv, size int64 }{{1, 16, 2, 128}, {7, 6, 2, 16}, {300, 2, 2, 64}, {0, 4, 1, 32}, {5, 1, 1, 256}} {
		width := (of.heads + 2*of.kv) * of.size
		x, bias := normal(rng, of.tokens, width), normal(rng, width)
		cos, sin := normal(rng, of.tokens, of.size/2), normal(rng, of.tokens, of.size/2)
		for _, in := range [][]ort.Tensor{{x, cos, sin}, {x, cos, sin, bias}} {
			all = append(all, fused{name: fmt.Sprintf("rotated halves of %+v from %d", of, len(in)), dtype: onnx.BFloat16, inputs: in, build: func(g *onnx.Graph, in []onnx.Value) []onnx.Value {
				var bias onnx.Value
				if len(in) > 3 {
					bias = in[3]
				}
				out := onnx.RotateHalves(g, in[0], bias, in[1], in[2], of.heads, of.kv)
				return out[:]
			}})
		}
	}
	return all
}

func rotatedPairs(rng *rand.Rand, large bool) (all []fused) {
	type batch struct {
		rows, width, size int64
		runs              []int64
	}
	batches := []batch{
		{1, 8, 8, []int64{0, 1, 1}}, {36, 40, 20, []int64{0, 32, 16, 32, 36, 4}}, {1296, 1280, 80, []int64{0, 1024, 64, 1024, 1280, 32, 1280, 1296, 16}},
		{50, 64, 32, []int64{0, 50, 50}}, {12, 16, 16, []int64{0, 12, 3, 12, 12, 1}}, {0, 16, 8, []int64{0, 0, 1}}, {9000, 8, 4, []int64{0, 9000, 9}},
	}
	if large {
		batches = append(batches, batch{82944, 64, 32, []int64{0, 82944, 81}})
	}
	for _, of := range batches {
		x, bias := normal(rng, of.rows, 3*of.width), normal(rng, 3*of.width)
		cos, sin := normal(rng, of.rows, of.size/2), normal(rng, of.rows, of.size/2)
		n := len(of.runs) / 3
		runs := ort.Int64s([]int64{int64(n), 3}, of.runs)
		order := make([]int64, of.rows)
		for i, p := range rng.Perm(int(of.rows)) {
			order[i] = int64(p)
		}
		for _, in := range [][]ort.Tensor{{x, bias, cos, sin, runs}, {x, bias, cos, sin, runs, ort.Int64s([]int64{of.rows}, order)}} {
			all = append(all, fused{name: fmt.Sprintf("rotated pairs of %+v from %d", of, len(in)), dtype: onnx.BFloat16, inputs: in, build: func(g *onnx.Graph, in []onnx.Value) (out []onnx.Value) {
				var order onnx.Value
				if len(in) > 5 {
					order = in[5]
				}
				for _, run := range onnx.RotatePairs(g, in[0], in[1], in[2], in[3], order, in[4], n) {
					out = append(out, run[:]...)
				}
				return out
			}})
		}
	}
	return all
}

func argMaxes(rng *rand.Rand, large bool) (all []fused) {
	type batch struct{ samples, window, vocabulary int64 }
	batches := []batch{{1, 1, 8}, {2, 3, 1536}, {1, 9, 520}, {0, 1, 64}, {1, 1, 151936}}
	if large {
		batches = append(batches, batch{4, 33, 151936})
	}
	for _, of := range batches {
		logits := normal(rng, of.samples*of.window, of.vocabulary)
		for i := range logits.Float32s() { // so few that there are ties
			logits.Float32s()[i] = float32(math.Round(float64(logits.Float32s()[i])))
		}
		seen := make([]bool, of.samples*of.vocabulary)
		for i := range seen {
			seen[i] = rng.IntN(3) == 0
		}
		tokens := make([]int64, of.samples*of.window)
		for i := range tokens {
			tokens[i] = rng.Int64N(of.vocabulary)
		}
		in := []ort.Tensor{logits, ort.Bools([]int64{of.samples, of.vocabulary}, seen), ort.Float32s([]int64{}, []float32{1.3}), ort.Int64s([]int64{of.samples, of.window}, tokens)}
		for _, n := range []int{1, 3, 4} {
			if n == 3 && of.window > 1 {
				continue
			}
			all = append(all, fused{name: fmt.Sprintf("argmax of %+v from %d", of, n), dtype: onnx.BFloat16, inputs: in[:n], build: func(g *onnx.Graph, in []onnx.Value) []onnx.Value {
				in = append(in, onnx.Value{}, onnx.Value{}, onnx.Value{})
				return one(g.PenalisedArgMax(in[0], in[1], in[2], in[3]))
			}})
		}
	}
	return all
}

func channelNorms(rng *rand.Rand, large bool) (all []fused) {
	shapes := [][]int64{{1, 1, 1, 8}, {2, 3, 5, 24}, {1, 3, 3, 256}, {2, 9, 7, 64}, {1, 2, 3, 768}, {0, 4, 4, 16}}
	if large {
		shapes = append(shapes, []int64{4, 288, 288, 48})
	}
	for _, shape := range shapes {
		x, scale, bias, residual := normal(rng, shape...), normal(rng, shape[3]), normal(rng, shape[3]), normal(rng, shape...)
		for where, n := range map[onnx.Rectified]int{onnx.RectifiedBefore: 2, onnx.RectifiedAfter: 3} {
			inputs := []ort.Tensor{x, scale, bias, residual}
			for _, in := range [][]ort.Tensor{inputs[:n], inputs} {
				all = append(all, fused{name: fmt.Sprintf("norm of %v rectified %d from %d", shape, where, len(in)), dtype: onnx.Float16, inputs: in, build: func(g *onnx.Graph, in []onnx.Value) []onnx.Value {
					in = append(in, onnx.Value{}, onnx.Value{}, onnx.Value{})
					return one(g.ChannelNorm(in[0], in[1], in[2], in[3], 1e-5, where))
				}})
			}
		}
	}
	return all
}

// everyFused has, where it says so, shapes that are too slow for a host.
func everyFused(large bool) (all []fused) {
	rng := rand.New(rand.NewPCG(20, 6))
	for _, make := range []func(*rand.Rand, bool) []fused{swiGLUs, rotatedHalves, rotatedPairs, argMaxes, channelNorms, eightBits, scaledProducts} {
		all = append(all, make(rng, large)...)
	}
	return all
}

// run computes an operator's outputs as float32: fused, or in plain nodes and float32 of
// the same rounded numbers.
func (f fused) run(t *testing.T, r *ort.Runtime, p ort.Provider, o onnx.Operators) []ort.Tensor {
	t.Helper()
	g := onnx.New("fused")
	g.Use(o)
	var in []onnx.Value
	dtypes := map[ort.DType]onnx.DType{ort.Float32: onnx.Float32, ort.Int64: onnx.Int64, ort.Bool: onnx.Bool}
	for i, t := range f.inputs {
		shape := onnx.Dims(t.Shape...)
		for j, n := range t.Shape {
			if n == 0 { // which no Reshape has
				shape[j] = onnx.Sym("none")
			}
		}
		v := g.Input(fmt.Sprint("in", i), dtypes[t.DType], shape)
		if t.DType == ort.Float32 && len(t.Shape) > 0 {
			v = g.Cast(v, f.dtype)
			if o&onnx.WrittenOut != 0 {
				v = g.Cast(v, onnx.Float32)
			}
		}
		in = append(in, v)
	}
	for i, v := range f.build(g, in) {
		if v.DType().Float() || v.DType() == onnx.Float8 {
			v = g.Cast(v, onnx.Float32)
		}
		g.Output(fmt.Sprint("out", i), v)
	}
	if custom := o&onnx.WrittenOut == 0; g.Custom() != custom {
		t.Fatalf("custom operators: %v, want %v", g.Custom(), custom)
	}
	model, err := g.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.NewSession(model, g.InputNames(), g.OutputNames(), ort.SessionOptions{Provider: p, Threads: 1, CustomOperators: g.Custom(), EightBit: g.EightBit()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out, err := s.Run(context.Background(), f.inputs)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// hold compares the operator with its plain nodes on the CPU: its numbers are those, rounded once to
// half precision.
func (f fused) hold(t *testing.T, r *ort.Runtime, p ort.Provider) {
	t.Helper()
	got, want := f.run(t, r, p, onnx.AllOperators|onnx.FP8), f.run(t, r, ort.Provider{}, onnx.AllOperators|onnx.FP8|onnx.WrittenOut)
	step, least := 1.0/(1<<8), 1e-4
	if f.dtype == onnx.Float16 {
		step = 1.0 / (1 << 10)
	}
	if p.Kind == ort.CUDA && f.sums > 0 {
		step, least = 1.0/(1<<6), f.sums
	}
	if f.steps {
		step, least = 1.0/(1<<3), 1.0/(1<<9)
	}
	for i := range want {
		if fmt.Sprint(got[i].Shape) != fmt.Sprint(want[i].Shape) {
			t.Fatalf("output %d is %v, want %v", i, got[i].Shape, want[i].Shape)
		}
		if want[i].DType == ort.Int64 {
			if fmt.Sprint(got[i].Int64s()) != fmt.Sprint(want[i].Int64s()) {
				t.Errorf("output %d is %v, want %v", i, got[i].Int64s(), want[i].Int64s())
			}
			continue
		}
		a, b := got[i].Float32s(), want[i].Float32s()
		for j := range b {
			if d := math.Abs(float64(a[j] - b[j])); !(d <= step*math.Abs(float64(b[j]))+least) {
				t.Fatalf("output %d at %d is %v, want %v", i, j, a[j], b[j])
			}
		}
	}
}

func TestCustomOperatorsEqualTheirPlainNodes(t *testing.T) {
	r := orttest.Open(t)
	kernelstest.Emulate(t)
	for _, f := range everyFused(false) {
		t.Run(f.name, func(t *testing.T) { f.hold(t, r, ort.Provider{}) })
	}
}

func TestACustomOperatorThatFailsIsTheErrorOfItsRun(t *testing.T) {
	kernelstest.Emulate(t)
	failsItsRunAlone(t, ort.Provider{})
}

func TestACustomOperatorThatFailsOnAGPUIsTheErrorOfItsRun(t *testing.T) {
	failsItsRunAlone(t, orttest.CUDA(t)[0])
}

func failsItsRunAlone(t *testing.T, p ort.Provider) {
	t.Helper()
	g := onnx.New("run")
	g.Use(onnx.AllOperators)
	half := func(name string, sizes ...int64) onnx.Value {
		return g.Cast(g.Input(name, onnx.Float32, onnx.Dims(sizes...)), onnx.BFloat16)
	}
	x, bias, turn := half("x", 3, 24), half("bias", 24), half("turn", 3, 2)
	out := onnx.RotatePairs(g, x, bias, turn, turn, onnx.Value{}, g.Input("runs", onnx.Int64, onnx.Dims(1, 3)), 1)[0]
	g.Output("values", g.Cast(out[2], onnx.Float32))
	model, err := g.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	s, err := orttest.Open(t).NewSession(model, g.InputNames(), g.OutputNames(), ort.SessionOptions{Provider: p, Threads: 1, CustomOperators: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	compute := func(run ...int64) ([]ort.Tensor, error) {
		rng := rand.New(rand.NewPCG(1, 1))
		return s.Run(t.Context(), []ort.Tensor{normal(rng, 3, 24), normal(rng, 24), normal(rng, 3, 2), ort.Int64s([]int64{1, 3}, run)})
	}
	for name, run := range map[string][]int64{"beyond the rows": {0, 4, 1}, "backwards": {2, 1, 1}, "no whole pieces": {0, 3, 2}, "pieces of nothing": {0, 3, 0}} {
		if _, err := compute(run...); err == nil || !strings.Contains(err.Error(), "RotatePairs: a run that is none") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if again, err := compute(0, 3, 3); err != nil || fmt.Sprint(again[0].Shape) != "[1 3 8]" {
		t.Errorf("after that: %v, %v", again, err)
	}
}

func TestCustomOperatorsOnAGPUEqualTheirPlainNodes(t *testing.T) {
	provider := orttest.CUDA(t)[0]
	r := orttest.Open(t)
	for _, f := range everyFused(true) {
		t.Run(f.name, func(t *testing.T) { f.hold(t, r, provider) })
	}
}
