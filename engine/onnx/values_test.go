package onnx_test

import (
	"maps"
	"math"
	"testing"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/internal/numtest"
)

// float32Rounding is what a handful of float32 operations may lose.
var float32Rounding = numtest.Tolerance{Abs: 1e-6, Rel: 2e-6}

// floats is a constant of the test's graph.
func floats(g *onnx.Graph, sizes []int64, data ...float32) onnx.Value {
	return onnx.Const(g, data, sizes...)
}

func ints(g *onnx.Graph, sizes []int64, data ...int64) onnx.Value {
	return onnx.Const(g, data, sizes...)
}

// dims are sizes of a constant.
func dims(n ...int64) []int64 { return n }

// rms is the root mean square of v with eps.
func rms(eps float64, v ...float64) float64 {
	var sum float64
	for _, x := range v {
		sum += x * x
	}
	return math.Sqrt(sum/float64(len(v)) + eps)
}

// convention is what an operator must compute of given numbers.
type convention struct {
	build func(g *onnx.Graph) onnx.Value
	want  []float64
}

func arithmeticConventions() map[string]convention {
	return map[string]convention{
		"MatMulT takes weights by rows of outputs": {func(g *onnx.Graph) onnx.Value {
			return g.MatMulT(floats(g, dims(1, 2), 1, 2), floats(g, dims(3, 2), 1, 0, 0, 1, 1, 1), 0.5)
		}, []float64{0.5, 1, 1.5}},
		"Linear adds its bias to each row": {func(g *onnx.Graph) onnx.Value {
			return g.Linear(floats(g, dims(2, 1), 1, 2), floats(g, dims(2, 1), 10, 20), floats(g, dims(2), 1, 2))
		}, []float64{11, 22, 21, 42}},
		"Round sends halves to the even number": {func(g *onnx.Graph) onnx.Value {
			return g.Round(floats(g, dims(4), 0.5, 1.5, 2.5, -0.5))
		}, []float64{0, 2, 2, 0}},
		"CumSum counts an element in": {func(g *onnx.Graph) onnx.Value {
			return g.CumSum(floats(g, dims(1, 3), 1, 2, 4), 1, false)
		}, []float64{1, 3, 7}},
		"an exclusive CumSum leaves it out": {func(g *onnx.Graph) onnx.Value {
			return g.CumSum(floats(g, dims(1, 3), 1, 2, 4), 1, true)
		}, []float64{0, 1, 3}},
		"Gelu has the exact distribution function": {func(g *onnx.Graph) onnx.Value {
			return g.Gelu(floats(g, dims(2), 1, -1))
		}, []float64{0.8413447460685429, -0.15865525393145707}},
		"Silu is x times its logistic": {func(g *onnx.Graph) onnx.Value {
			return g.Silu(floats(g, dims(2), 1, -2))
		}, []float64{1 / (1 + math.Exp(-1)), -2 / (1 + math.Exp(2))}},
		"Clip has both bounds": {func(g *onnx.Graph) onnx.Value {
			return g.Clip(floats(g, dims(3), -3, 0.5, 3), -1, 2)
		}, []float64{-1, 0.5, 2}},
	}
}

func indexConventions() map[string]convention {
	return map[string]convention{
		"ArgMax takes the first of equals": {func(g *onnx.Graph) onnx.Value {
			return g.Cast(g.ArgMax(floats(g, dims(2, 4), 1, 7, 7, 3, 5, 5, 5, 5), 1), f32)
		}, []float64{1, 0}},
		"GatherElements picks along its axis": {func(g *onnx.Graph) onnx.Value {
			return g.GatherElements(floats(g, dims(2, 2), 1, 2, 3, 4), ints(g, dims(2, 1), 1, 0), 1)
		}, []float64{2, 3}},
		"ScatterElements writes along its axis": {func(g *onnx.Graph) onnx.Value {
			return g.ScatterElements(floats(g, dims(2, 2), 1, 2, 3, 4), ints(g, dims(2, 1), 1, 0), floats(g, dims(2, 1), 8, 9), 1)
		}, []float64{1, 8, 9, 4}},
		"ScatterND writes whole slices": {func(g *onnx.Graph) onnx.Value {
			return g.ScatterND(floats(g, dims(3, 1), 1, 2, 3), ints(g, dims(2, 1), 2, 0), floats(g, dims(2, 1), 8, 9))
		}, []float64{9, 2, 8}},
		"Slice takes the end from behind": {func(g *onnx.Graph) onnx.Value {
			return g.Slice(floats(g, dims(4), 1, 2, 3, 4), 0, 1, -1)
		}, []float64{2, 3}},
		"Where takes the first where it holds": {func(g *onnx.Graph) onnx.Value {
			return g.Where(onnx.Const(g, []bool{true, false}, 2), floats(g, dims(2), 1, 2), floats(g, nil, 9))
		}, []float64{1, 9}},
		"Range begins at nought": {func(g *onnx.Graph) onnx.Value {
			return g.Cast(g.Range(onnx.Scalar(g, int64(3)), n(3)), f32)
		}, []float64{0, 1, 2}},
		"Full repeats its value": {func(g *onnx.Graph) onnx.Value {
			return onnx.Full(g, float32(2.5), ints(g, dims(2), 1, 2), n(1), n(2))
		}, []float64{2.5, 2.5}},
		"Transpose gives dimension i what was at perm i": {func(g *onnx.Graph) onnx.Value {
			return g.Transpose(floats(g, dims(1, 2, 3), 1, 2, 3, 4, 5, 6), 2, 0, 1)
		}, []float64{1, 4, 2, 5, 3, 6}},
	}
}

func layerConventions() map[string]convention {
	sin, cos := math.Sincos(0.5)
	return map[string]convention{
		"LayerNorm takes the population's variance": {func(g *onnx.Graph) onnx.Value {
			return g.LayerNorm(floats(g, dims(1, 2), 1, 3), floats(g, dims(2), 2, 2), floats(g, dims(2), 0, 1), 0)
		}, []float64{-2, 3}},
		"RMSNorm does not centre": {func(g *onnx.Graph) onnx.Value {
			return g.RMSNorm(floats(g, dims(1, 2), 1, 3), floats(g, dims(2), 1, 2), 0.5)
		}, []float64{1 / rms(0.5, 1, 3), 6 / rms(0.5, 1, 3)}},
		"SkipRMSNorm normalises the sum of all three": {func(g *onnx.Graph) onnx.Value {
			normed, _ := g.SkipRMSNorm(floats(g, dims(1, 2), 1, 1), floats(g, dims(1, 2), 0, 1), floats(g, dims(2), 1, 2), floats(g, dims(2), 0, 1), 0.5)
			return normed
		}, []float64{1 / rms(0.5, 1, 3), 6 / rms(0.5, 1, 3)}},
		"SkipRMSNorm returns the sum as well": {func(g *onnx.Graph) onnx.Value {
			_, sum := g.SkipRMSNorm(floats(g, dims(1, 2), 1, 1), floats(g, dims(1, 2), 0, 1), floats(g, dims(2), 1, 2), floats(g, dims(2), 0, 1), 0.5)
			return sum
		}, []float64{1, 3}},
		"RotaryEmbedding turns halves against each other": {func(g *onnx.Graph) onnx.Value {
			return rotated(g, false)
		}, []float64{1*cos - 3*sin, 2, 3*cos + 1*sin, 4}},
		"an adjacent RotaryEmbedding turns neighbours": {func(g *onnx.Graph) onnx.Value {
			return rotated(g, true)
		}, []float64{1*cos - 2*sin, 2*cos + 1*sin, 3, 4}},
		"MultiHeadAttention keeps heads apart": {func(g *onnx.Graph) onnx.Value {
			// Two heads of 1: the first prefers the second key, the other the first.
			query := floats(g, dims(1, 1, 2), 1, -1)
			key := floats(g, dims(1, 2, 2), 0, 0, 100, 100)
			return g.MultiHeadAttention(query, key, floats(g, dims(1, 2, 2), 1, 2, 3, 4), 2, 1)
		}, []float64{3, 2}},
		"Conv does not turn its kernel round": {func(g *onnx.Graph) onnx.Value {
			return g.Conv(floats(g, dims(1, 1, 1, 3), 1, 2, 3), floats(g, dims(1, 1, 1, 3), 1, 10, 100), floats(g, dims(1), 0.5), 0)
		}, []float64{321.5}},
		"ConvTranspose spreads a pixel": {func(g *onnx.Graph) onnx.Value {
			kernel := floats(g, dims(1, 1, 3, 3), 1, 2, 3, 4, 5, 6, 7, 8, 9)
			return g.ConvTranspose(floats(g, dims(1, 1, 1, 1), 1), kernel, none)
		}, []float64{5, 6, 8, 9}},
		"DepthToSpace takes a channel's pixels from neighbouring channels": {func(g *onnx.Graph) onnx.Value {
			return g.DepthToSpace(floats(g, dims(1, 8, 1, 1), 0, 1, 2, 3, 10, 11, 12, 13), 2)
		}, []float64{0, 1, 2, 3, 10, 11, 12, 13}},
		"ConvGroups keeps groups apart": {func(g *onnx.Graph) onnx.Value {
			return g.ConvGroups(floats(g, dims(1, 2, 1, 2), 1, 2, 3, 4), floats(g, dims(2, 1, 1, 1), 10, 100), onnx.Value{}, 0, 2)
		}, []float64{10, 20, 300, 400}},
		"UpsampleNearest repeats": {func(g *onnx.Graph) onnx.Value {
			return g.UpsampleNearest(floats(g, dims(1, 1, 1, 2), 1, 2), 2, false)
		}, []float64{1, 1, 2, 2, 1, 1, 2, 2}},
		"GroupNorm normalises groups of channels": {func(g *onnx.Graph) onnx.Value {
			x := floats(g, dims(1, 4, 1, 1), 1, 3, 10, 30)
			return g.GroupNorm(x, floats(g, dims(4), 1, 1, 2, 2), floats(g, dims(4), 0, 1, 0, 1), 2, 0)
		}, []float64{-1, 2, -2, 3}},
	}
}

// What can be had one way or another: what is transposed, which element is first,
// how halves round.
func TestOperatorsKeepTheirConventions(t *testing.T) {
	all := arithmeticConventions()
	maps.Copy(all, indexConventions())
	maps.Copy(all, layerConventions())
	for name, test := range all {
		t.Run(name, func(t *testing.T) {
			g := onnx.New("test")
			g.Output("y", test.build(g))
			got := run(t, g, ort.SessionOptions{Threads: 1})[0].Float32s()
			numtest.Slice(t, "y", got, test.want, float32Rounding)
		})
	}
}

// rotated is 1 2 3 4 as one head, whose first pair alone turns, by half a radian.
func rotated(g *onnx.Graph, adjacent bool) onnx.Value {
	sin, cos := math.Sincos(0.5)
	cosines, sines := floats(g, dims(1, 2), float32(cos), 1), floats(g, dims(1, 2), float32(sin), 0)
	return g.RotaryEmbedding(floats(g, dims(1, 1, 4), 1, 2, 3, 4), ints(g, dims(1), 0), cosines, sines, 1, adjacent)
}

func TestScalarsRoundToTheNearestEven(t *testing.T) {
	for name, test := range map[string]struct {
		dtype onnx.DType
		v     float32
		want  float64
	}{
		"float32 is exact":                    {f32, 0.1, float64(float32(0.1))},
		"bfloat16 has eight bits":             {onnx.BFloat16, 1.0 / 3, 0.333984375},
		"bfloat16 rounds a half down to even": {onnx.BFloat16, 1 + 1.0/256, 1},
		"bfloat16 rounds a half up to even":   {onnx.BFloat16, 1 + 3.0/256, 1 + 4.0/256},
		"bfloat16 rounds up beyond a half":    {onnx.BFloat16, 1 + 1.0/256 + 1.0/65536, 1 + 2.0/256},
		"bfloat16 keeps the sign":             {onnx.BFloat16, -2.5, -2.5},
		"bfloat16 overflows to infinity":      {onnx.BFloat16, math.MaxFloat32, math.Inf(1)},
		"float16 has eleven bits":             {onnx.Float16, 1.0 / 3, 0.333251953125},
	} {
		t.Run(name, func(t *testing.T) {
			g := onnx.New("test")
			g.Output("y", g.Cast(g.ScalarOf(test.dtype, test.v), f32))
			if got := run(t, g, ort.SessionOptions{Threads: 1})[0].Float32s()[0]; float64(got) != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}
