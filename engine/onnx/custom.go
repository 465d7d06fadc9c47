package onnx

import "strings"

// customDomain is that of the operators of package engine/ort/kernels.
const customDomain = "densereward"

// Operators is a set of this project's own operators, which do in one kernel what takes
// several plain nodes. They run on NVIDIA GPUs: package engine/ort has them.
type Operators uint8

// The operators. Each has plain nodes for what it computes, which are a graph's own form
// where it may not use the operator, and everywhere but in a graph of half precision.
const (
	FusedSwiGLU      Operators = 1 << iota // of bfloat16: see GatedLinear
	FusedRotaryHeads                       // of bfloat16: see RotaryLinear
	FusedRotaryRuns                        // of bfloat16: see RotaryRuns
	FusedArgMax                            // of bfloat16: see PenalisedArgMax
	FusedChannelNorm                       // of float16: see ChannelNorm

	// WrittenOut has plain nodes stand for each operator of the set, in any type and with
	// what is around them as the operator has it: what it is held against.
	WrittenOut
)

// AllOperators is every operator.
const AllOperators = WrittenOut - 1

// operatorNames are those of the operators, in their order.
var operatorNames = []string{"swiglu", "rotary-heads", "rotary-runs", "argmax", "channel-norm"}

// String is the operators' names with commas between them, or "none".
func (o Operators) String() string {
	var names []string
	for i, name := range operatorNames {
		if o&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ",")
}

// Use lets operators that are added from now on be those of a set.
func (g *Graph) Use(o Operators) { g.operators = o }

// Custom reports whether the graph has operators of the domain "densereward", which a
// session must have been told of.
func (g *Graph) Custom() bool { return g.domains[customDomain] }

// EightBit reports whether it has some of eight bits, which need more of a device.
func (g *Graph) EightBit() bool { return g.eightBit }

// vector is how many 16-bit numbers a kernel's thread loads at once: rows must be
// multiples of it.
const vector = 8

// Fuses reports whether an operator of the set takes rows of the given widths and type.
func (g *Graph) Fuses(o Operators, dtype DType, widths ...Dim) bool {
	if g.operators&o == 0 {
		return false
	}
	want := BFloat16
	if o == FusedChannelNorm {
		want = Float16
	}
	for _, d := range widths {
		if n, fixed := d.Fixed(); !fixed || n%vector != 0 || n == 0 {
			return false
		}
	}
	return dtype == want || g.operators&WrittenOut != 0
}

// custom adds an operator of this project's own.
func (g *Graph) custom(op string, inputs []Value, attrs []Attr, outs ...outputType) []Value {
	for _, o := range outs {
		g.eightBit = g.eightBit || o.dtype == Float8
	}
	return g.Op(customDomain, op, inputs, attrs, outs...)
}

// together joins values along an axis of fixed sizes, in the graph that has the first,
// the first time that it is asked for; none if all are absent.
func (g *Graph) together(axis int, values ...Value) Value {
	if !values[0].Valid() {
		return Value{}
	}
	key, of := "", values[0].g
	for _, v := range values {
		key += v.name + "\n"
	}
	if v, ok := of.joined[key]; ok {
		return v
	}
	v := of.Concat(axis, Dim{}, values...)
	of.joined[key] = v
	return v
}

// GatedLinear is SwiGLU: silu(x times the transpose of gate, plus its bias) * (x times the
// transpose of up, plus its bias), with x (...,in), gate and up (inner,in); the result
// (...,inner) is on its way into products of so many outputs. Biases (inner) may be absent,
// both. Fused it is one product of both weights, joined, and one pass over it.
func (g *Graph) GatedLinear(x Rows, gate, up, gateBias, upBias Value, out int64) Rows {
	if !g.need("GatedLinear", x.x) || !g.sameType("GatedLinear", gate, up) {
		return Rows{}
	}
	if !gate.shape.Equal(up.shape) || gateBias.Valid() != upBias.Valid() || x.dtype != gate.dtype {
		g.Fail("GatedLinear: %v, gate %v, up %v", x.dtype, gate.shape, up.shape)
		return Rows{}
	}
	if !g.Fuses(FusedSwiGLU, x.dtype, gate.Dim(0)) {
		return g.Rows(g.Mul(g.Silu(g.TimesPlus(x, gate, gateBias)), g.TimesPlus(x, up, upBias)), out)
	}
	return g.gatedRows(g.Times(x, g.together(0, gate, up)), g.together(0, gateBias, upBias), out)
}

// swiGLU is silu(gate) * up of x (...,2*inner), plus bias (2*inner) unless it is absent:
// gates before ups.
func (g *Graph) swiGLU(x, bias Value) Value {
	if !g.need("SwiGLU", x) {
		return Value{}
	}
	wide, _ := x.Dim(-1).Fixed()
	out := x.shape.with(len(x.shape)-1, N(wide/2))
	if g.operators&WrittenOut == 0 {
		return g.custom("SwiGLU", []Value{x, bias}, nil, typed(x.dtype, out))[0]
	}
	if bias.Valid() {
		x = g.Add(x, bias)
	}
	parts := g.Split(x, -1, wide/2, wide/2)
	return g.Mul(g.Silu(parts[0]), parts[1])
}

// RotaryLinear is the queries (T,heads*size), keys and values (T,kv*size each) of x (T,in):
// x times the transpose of weight ((heads+2*kv)*size,in), plus bias unless it is absent.
// The halves of each head of queries and keys turn by the token's cosines and sines
// (T,size/2).
func (g *Graph) RotaryLinear(x Rows, weight, bias, cos, sin Value, heads, kv int64) [3]Value {
	if !g.need("RotaryLinear", x.x) || !g.sameType("RotaryLinear", weight, cos, sin) {
		return [3]Value{}
	}
	width, _ := weight.Dim(0).Fixed()
	if heads <= 0 || kv <= 0 || width%(heads+2*kv) != 0 {
		g.Fail("RotaryLinear: weight %v for %d heads and %d of keys", weight.shape, heads, kv)
		return [3]Value{}
	}
	if g.Fuses(FusedRotaryHeads, x.dtype, cos.Dim(1)) {
		return g.rotateHalves(g.Times(x, weight), bias, cos, sin, heads, kv)
	}
	return g.rotatedHalves(g.TimesPlus(x, weight, bias), cos, sin, heads, kv)
}

// rotateHalves is RotaryLinear behind the product x (T,(heads+2*kv)*size).
func (g *Graph) rotateHalves(x, bias, cos, sin Value, heads, kv int64) [3]Value {
	if !g.need("RotateHalves", x, cos, sin) {
		return [3]Value{}
	}
	if g.operators&WrittenOut != 0 {
		if bias.Valid() {
			x = g.Add(x, bias)
		}
		return g.rotatedHalves(x, cos, sin, heads, kv)
	}
	width, _ := x.Dim(1).Fixed()
	size := width / (heads + 2*kv)
	some := typed(x.dtype, Shape{x.Dim(0), N(kv * size)})
	return [3]Value(g.custom("RotateHalves", []Value{x, cos, sin, bias}, []Attr{{"num_heads", heads}, {"kv_num_heads", kv}},
		typed(x.dtype, Shape{x.Dim(0), N(heads * size)}), some, some))
}

// rotatedHalves is rotateHalves in plain nodes, without a bias.
func (g *Graph) rotatedHalves(x, cos, sin Value, heads, kv int64) [3]Value {
	width, _ := x.Dim(-1).Fixed()
	size := width / (heads + 2*kv)
	parts := g.Split(x, -1, heads*size, kv*size, kv*size)
	return [3]Value{g.Rotate(parts[0], cos, sin, heads, false), g.Rotate(parts[1], cos, sin, kv, false), parts[2]}
}

// Rotate is RotaryEmbedding of x (T,heads*size) by each token's own cosines and sines
// (T,size/2).
func (g *Graph) Rotate(x, cos, sin Value, heads int64, adjacent bool) Value {
	if !g.need("RotaryEmbedding", x) {
		return Value{}
	}
	return g.Squeeze(g.RotaryEmbedding(g.Unsqueeze(x, 0), Const(g, []int64{0}, 1), cos, sin, heads, adjacent), 0)
}
