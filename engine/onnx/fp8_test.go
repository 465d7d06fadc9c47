package onnx_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/kernels/kernelstest"
	"github.com/denseflow/densereward/engine/ort/orttest"
)

// eightBits are uses of the operators whose results have eight bits.
func eightBits(rng *rand.Rand, large bool) (all []fused) {
	shapes := [][]int64{{1, 16}, {5, 2048}, {3, 11008}, {0, 32}, {2, 7, 160}, {2, 12288}}
	if large {
		shapes = append(shapes, []int64{40000, 2048})
	}
	for _, shape := range shapes {
		wide := shape[len(shape)-1]
		x, skip, weight, bias := normal(rng, shape...), normal(rng, shape...), normal(rng, wide), normal(rng, wide)
		if len(x.Float32s()) > 16 {
			clear(x.Float32s()[:wide]) // a row of zeros
		}
		all = append(all, fused{name: fmt.Sprintf("rows of %v in eight bits", shape), dtype: onnx.BFloat16, inputs: []ort.Tensor{x}, build: func(g *onnx.Graph, in []onnx.Value) []onnx.Value {
			return onnx.Parts(g.Rows(in[0], 16))
		}})
		for n := range 3 {
			inputs := []ort.Tensor{x, weight, skip, bias}[:2+n]
			all = append(all, fused{name: fmt.Sprintf("norm of %v in eight bits from %d", shape, len(inputs)), dtype: onnx.BFloat16, steps: true, inputs: inputs, build: func(g *onnx.Graph, in []onnx.Value) []onnx.Value {
				given := len(in)
				in = append(in, onnx.Value{}, onnx.Value{})
				rows, sum := g.NormedRows(in[0], in[2], in[1], in[3], 1e-6, 16)
				if given > 2 { // with something to skip to
					return append(onnx.Parts(rows), sum)
				}
				return onnx.Parts(rows)
			}})
		}
		if wide < 32 {
			continue
		}
		for n := 1; n <= 2; n++ {
			inputs := []ort.Tensor{x, bias}[:n]
			all = append(all, fused{name: fmt.Sprintf("swiglu of %v in eight bits from %d", shape, n), dtype: onnx.BFloat16, steps: true, inputs: inputs, build: func(g *onnx.Graph, in []onnx.Value) []onnx.Value {
				return onnx.Parts(onnx.GatedRows(g, in[0], append(in, onnx.Value{})[1], 16))
			}})
		}
	}
	return all
}

func scaledProducts(rng *rand.Rand, large bool) (all []fused) {
	type sizes struct{ rows, in, out int64 }
	shapes := []sizes{{1, 16, 16}, {7, 160, 480}, {0, 32, 16}, {33, 64, 512}, {3, 2048, 32}}
	if large {
		shapes = append(shapes, sizes{4000, 2048, 2560}, sizes{671, 11008, 2048}, sizes{64, 2048, 22016}, sizes{1, 1280, 3840})
	}
	for _, of := range shapes {
		inputs := []ort.Tensor{normal(rng, of.rows, of.in), normal(rng, of.out, of.in)}
		// Cards add eight-bit products up with 14 bits or so, and drop the rest: 2^-12 of what
		// is added, whose numbers are 2.5 on average.
		sums := 2.5 / (1 << 12) * float64(of.in)
		all = append(all, fused{name: fmt.Sprintf("product of %+v in eight bits", of), dtype: onnx.BFloat16, sums: sums, inputs: inputs, build: func(g *onnx.Graph, in []onnx.Value) []onnx.Value {
			return one(g.Times(g.Rows(in[0], of.out), in[1]))
		}})
	}
	return all
}

func TestWhatFitsNoProductOfEightBitsIsLeftAsItIs(t *testing.T) {
	for name, of := range map[string]struct {
		dtype   onnx.DType
		in, out int64
		fp8     onnx.Operators
		want    bool
	}{
		"as asked":             {onnx.BFloat16, 2048, 2560, onnx.FP8, true},
		"not asked":            {onnx.BFloat16, 2048, 2560, 0, false},
		"of another type":      {onnx.Float16, 2048, 2560, onnx.FP8, false},
		"of narrow rows":       {onnx.BFloat16, 40, 160, onnx.FP8, false},
		"of odd outputs":       {onnx.BFloat16, 160, 40, onnx.FP8, false},
		"of rows beyond reach": {onnx.BFloat16, 16384, 64, onnx.FP8, false},
	} {
		g := onnx.New("product")
		g.Use(of.fp8)
		x, w := g.Input("x", of.dtype, onnx.Dims(3, of.in)), g.Input("w", of.dtype, onnx.Dims(of.out, of.in))
		y := g.Times(g.Rows(x, of.out), w)
		if g.Err() != nil || y.DType() != of.dtype || fmt.Sprint(y.Shape()) != fmt.Sprint(onnx.Dims(3, of.out)) || g.EightBit() != of.want {
			t.Errorf("%s: %v, %v %v, in eight bits %t", name, g.Err(), y.DType(), y.Shape(), g.EightBit())
		}
	}
	g := onnx.New("product")
	g.Use(onnx.FP8)
	g.Times(g.Rows(g.Input("x", onnx.BFloat16, onnx.Dims(3, 32)), 16), g.Input("w", onnx.BFloat16, onnx.Dims(16, 48)))
	if err := g.Err(); err == nil || !strings.Contains(err.Error(), "ScaledProduct") {
		t.Errorf("a weight of another width: %v", err)
	}
	g = onnx.New("norm")
	w := g.Input("w", onnx.BFloat16, onnx.Dims(32))
	g.NormedRows(g.Input("x", onnx.BFloat16, onnx.Dims(3, 32)), onnx.Value{}, w, w, 1e-6, 16)
	if err := g.Err(); err == nil || !strings.Contains(err.Error(), "a bias") {
		t.Errorf("a bias alone: %v", err)
	}
}

// Operators keep weights in eight bits by numbers of their graph's.
func TestWeightsInEightBitsAreThoseOfTheirOwnGraph(t *testing.T) {
	r := orttest.Open(t)
	kernelstest.Emulate(t)
	var sessions []*ort.Session
	for range 2 {
		g := onnx.New("product")
		g.Use(onnx.FP8)
		x, w := g.Cast(g.Input("x", onnx.Float32, onnx.Dims(1, 16)), onnx.BFloat16), g.Cast(g.Input("w", onnx.Float32, onnx.Dims(16, 16)), onnx.BFloat16)
		rows := g.Rows(x, 16)
		// The same weight twice is kept once.
		g.Output("y", g.Cast(g.Times(rows, w), onnx.Float32))
		g.Output("z", g.Cast(g.Times(rows, w), onnx.Float32))
		model, err := g.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		s, err := r.NewSession(model, g.InputNames(), g.OutputNames(), ort.SessionOptions{Threads: 1, CustomOperators: true, EightBit: g.EightBit()})
		if err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, s)
	}
	compute := func(s *ort.Session, weight float32) {
		t.Helper()
		out, err := s.Run(t.Context(), []ort.Tensor{filled(1, 1, 16), filled(weight, 16, 16)})
		if err != nil {
			t.Fatal(err)
		}
		if y, z := out[0].Float32s()[0], out[1].Float32s()[0]; y != 16*weight || z != y {
			t.Errorf("products with a weight of %v are %v and %v", weight, y, z)
		}
	}
	compute(sessions[0], 1)
	compute(sessions[1], 2)
	compute(sessions[0], 1)
	if err := sessions[0].Unload(); err != nil {
		t.Fatal(err)
	}
	compute(sessions[0], 4) // loaded anew
	compute(sessions[1], 2)
	for _, s := range sessions {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func filled(with float32, sizes ...int64) ort.Tensor {
	t := ort.Float32s(sizes, make([]float32, sizes[0]*sizes[1]))
	for i := range t.Float32s() {
		t.Float32s()[i] = with
	}
	return t
}
