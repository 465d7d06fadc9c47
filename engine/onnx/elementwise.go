package onnx

// binary adds an element-wise operator on two broadcast tensors of one type;
// its result has the type out, or theirs if out is Invalid.
func (g *Graph) binary(op string, out DType, a, b Value) Value {
	if !g.sameType(op, a, b) {
		return Value{}
	}
	shape, err := broadcast(a.shape, b.shape)
	if err != nil {
		return g.Fail("%s: %w", op, err)
	}
	if out == Invalid {
		out = a.dtype
	}
	return g.Op("", op, []Value{a, b}, nil, typed(out, shape))[0]
}

// unary adds an element-wise operator on one tensor.
func (g *Graph) unary(op string, x Value, attrs ...Attr) Value {
	if !g.need(op, x) {
		return Value{}
	}
	return g.Op("", op, []Value{x}, attrs, typed(x.dtype, x.shape))[0]
}

// Add is a + b, broadcast.
func (g *Graph) Add(a, b Value) Value { return g.binary("Add", Invalid, a, b) }

// Sub is a - b, broadcast.
func (g *Graph) Sub(a, b Value) Value { return g.binary("Sub", Invalid, a, b) }

// Mul is a * b, broadcast.
func (g *Graph) Mul(a, b Value) Value { return g.binary("Mul", Invalid, a, b) }

// Div is a / b, broadcast.
func (g *Graph) Div(a, b Value) Value { return g.binary("Div", Invalid, a, b) }

// Min is the smaller of a and b, broadcast.
func (g *Graph) Min(a, b Value) Value { return g.binary("Min", Invalid, a, b) }

// Max is the larger of a and b, broadcast.
func (g *Graph) Max(a, b Value) Value { return g.binary("Max", Invalid, a, b) }

// Equal is a == b, broadcast, as bool.
func (g *Graph) Equal(a, b Value) Value { return g.binary("Equal", Bool, a, b) }

// Greater is a > b, broadcast, as bool.
func (g *Graph) Greater(a, b Value) Value { return g.binary("Greater", Bool, a, b) }

// Less is a < b, broadcast, as bool.
func (g *Graph) Less(a, b Value) Value { return g.binary("Less", Bool, a, b) }

// Mod is the remainder of a / b for integers, with the sign of b, broadcast.
func (g *Graph) Mod(a, b Value) Value { return g.binary("Mod", Invalid, a, b) }

// And is the conjunction of two bool tensors, broadcast.
func (g *Graph) And(a, b Value) Value { return g.binary("And", Bool, a, b) }

// Or is the disjunction of two bool tensors, broadcast.
func (g *Graph) Or(a, b Value) Value { return g.binary("Or", Bool, a, b) }

// Not is the negation of a bool tensor.
func (g *Graph) Not(x Value) Value { return g.unary("Not", x) }

// Neg is -x.
func (g *Graph) Neg(x Value) Value { return g.unary("Neg", x) }

// Sqrt is the square root of x.
func (g *Graph) Sqrt(x Value) Value { return g.unary("Sqrt", x) }

// Sin is the sine of x, in radians.
func (g *Graph) Sin(x Value) Value { return g.unary("Sin", x) }

// Cos is the cosine of x, in radians.
func (g *Graph) Cos(x Value) Value { return g.unary("Cos", x) }

// Tanh is the hyperbolic tangent of x.
func (g *Graph) Tanh(x Value) Value { return g.unary("Tanh", x) }

// Relu is max(x, 0).
func (g *Graph) Relu(x Value) Value { return g.unary("Relu", x) }

// Sigmoid is 1 / (1 + exp(-x)).
func (g *Graph) Sigmoid(x Value) Value { return g.unary("Sigmoid", x) }

// Gelu is x * Phi(x) with the exact normal distribution function.
func (g *Graph) Gelu(x Value) Value { return g.unary("Gelu", x) }

// Softmax normalises exp(x) along an axis.
func (g *Graph) Softmax(x Value, axis int) Value {
	if _, ok := g.axis("Softmax", x, axis); !ok {
		return Value{}
	}
	return g.unary("Softmax", x, Attr{"axis", int64(axis)})
}

// Silu is x * sigmoid(x), fused: com.microsoft QuickGelu with alpha 1.
func (g *Graph) Silu(x Value) Value {
	if !g.need("QuickGelu", x) {
		return Value{}
	}
	return g.Op(contribDomain, "QuickGelu", []Value{x}, []Attr{{"alpha", float32(1)}}, typed(x.dtype, x.shape))[0]
}

// Cast is x as another element type; x itself if it has that type.
func (g *Graph) Cast(x Value, to DType) Value {
	if !g.need("Cast", x) || x.dtype == to {
		return x
	}
	return g.Op("", "Cast", []Value{x}, []Attr{{"to", int64(to)}}, typed(to, x.shape))[0]
}

// Where is a where cond is true and b elsewhere, all broadcast.
func (g *Graph) Where(cond, a, b Value) Value {
	if !g.need("Where", cond) || !g.sameType("Where", a, b) {
		return Value{}
	}
	if cond.dtype != Bool {
		return g.Fail("Where: the condition is %v", cond.dtype)
	}
	shape, err := broadcast(a.shape, b.shape)
	if err == nil {
		shape, err = broadcast(shape, cond.shape)
	}
	if err != nil {
		return g.Fail("Where: %w", err)
	}
	return g.Op("", "Where", []Value{cond, a, b}, nil, typed(a.dtype, shape))[0]
}
