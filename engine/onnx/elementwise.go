package onnx

// binary adds an element-wise operator on two broadcast tensors of one type of
// the given kind; its result has the type out, or theirs if out is Invalid.
func (g *Graph) binary(op string, takes kind, out DType, a, b Value) Value {
	if !g.sameType(op, a, b) || !g.takes(op, takes, a) {
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

// unary adds an element-wise operator on one tensor of the given kind.
func (g *Graph) unary(op string, takes kind, x Value, attrs ...Attr) Value {
	if !g.need(op, x) || !g.takes(op, takes, x) {
		return Value{}
	}
	return g.Op("", op, []Value{x}, attrs, typed(x.dtype, x.shape))[0]
}

// Add is a + b, broadcast.
func (g *Graph) Add(a, b Value) Value { return g.binary("Add", numbers, Invalid, a, b) }

// Sub is a - b, broadcast.
func (g *Graph) Sub(a, b Value) Value { return g.binary("Sub", numbers, Invalid, a, b) }

// Mul is a * b, broadcast.
func (g *Graph) Mul(a, b Value) Value { return g.binary("Mul", numbers, Invalid, a, b) }

// Div is a / b, broadcast.
func (g *Graph) Div(a, b Value) Value { return g.binary("Div", numbers, Invalid, a, b) }

// Min is the smaller of a and b, broadcast.
func (g *Graph) Min(a, b Value) Value { return g.binary("Min", numbers, Invalid, a, b) }

// Max is the larger of a and b, broadcast.
func (g *Graph) Max(a, b Value) Value { return g.binary("Max", numbers, Invalid, a, b) }

// Equal is a == b, broadcast, as bool.
func (g *Graph) Equal(a, b Value) Value { return g.binary("Equal", anything, Bool, a, b) }

// Greater is a > b, broadcast, as bool.
func (g *Graph) Greater(a, b Value) Value { return g.binary("Greater", numbers, Bool, a, b) }

// Less is a < b, broadcast, as bool.
func (g *Graph) Less(a, b Value) Value { return g.binary("Less", numbers, Bool, a, b) }

// And is the conjunction of two bool tensors, broadcast.
func (g *Graph) And(a, b Value) Value { return g.binary("And", truths, Bool, a, b) }

// Or is the disjunction of two bool tensors, broadcast.
func (g *Graph) Or(a, b Value) Value { return g.binary("Or", truths, Bool, a, b) }

// Not is the negation of a bool tensor.
func (g *Graph) Not(x Value) Value { return g.unary("Not", truths, x) }

// Neg is -x.
func (g *Graph) Neg(x Value) Value { return g.unary("Neg", signed, x) }

// Sqrt is the square root of x.
func (g *Graph) Sqrt(x Value) Value { return g.unary("Sqrt", floats, x) }

// Sin is the sine of x, in radians.
func (g *Graph) Sin(x Value) Value { return g.unary("Sin", floats, x) }

// Cos is the cosine of x, in radians.
func (g *Graph) Cos(x Value) Value { return g.unary("Cos", floats, x) }

// Tanh is the hyperbolic tangent of x.
func (g *Graph) Tanh(x Value) Value { return g.unary("Tanh", floats, x) }

// Relu is max(x, 0).
func (g *Graph) Relu(x Value) Value { return g.unary("Relu", signed, x) }

// Sigmoid is 1 / (1 + exp(-x)).
func (g *Graph) Sigmoid(x Value) Value { return g.unary("Sigmoid", floats, x) }

// Gelu is x * Phi(x) with the exact normal distribution function.
func (g *Graph) Gelu(x Value) Value { return g.unary("Gelu", floats, x) }

// GeluTanh is Gelu with tanh in place of the distribution function.
func (g *Graph) GeluTanh(x Value) Value {
	return g.unary("Gelu", floats, x, Attr{"approximate", "tanh"})
}

// Softmax normalises exp(x) along an axis.
func (g *Graph) Softmax(x Value, axis int) Value {
	if _, ok := g.axis("Softmax", x, axis); !ok {
		return Value{}
	}
	return g.unary("Softmax", floats, x, Attr{"axis", int64(axis)})
}

// Silu is x * sigmoid(x), fused.
func (g *Graph) Silu(x Value) Value { return g.quickGelu(x, 1) }

// QuickGelu is x * sigmoid(1.702*x), CLIP's approximation of Gelu, fused.
func (g *Graph) QuickGelu(x Value) Value { return g.quickGelu(x, 1.702) }

// quickGelu is x * sigmoid(alpha*x): com.microsoft QuickGelu.
func (g *Graph) quickGelu(x Value, alpha float32) Value {
	if !g.need("QuickGelu", x) || !g.takes("QuickGelu", floats, x) {
		return Value{}
	}
	return g.Op(contribDomain, "QuickGelu", []Value{x}, []Attr{{"alpha", alpha}}, typed(x.dtype, x.shape))[0]
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
	if !g.need("Where", cond) || !g.sameType("Where", a, b) || !g.takes("Where", truths, cond) {
		return Value{}
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
