package onnx

// MatMul is the matrix product of a (...,m,k) and b (...,k,n).
func (g *Graph) MatMul(a, b Value) Value {
	return g.product("", "MatMul", a, b, false, nil)
}

// MatMulT is the product of a (...,m,k) and the transpose of b (...,n,k):
// com.microsoft FusedMatMul, which takes weights as checkpoints store them.
// scale multiplies the result.
func (g *Graph) MatMulT(a, b Value, scale float32) Value {
	attrs := []Attr{{"transB", int64(1)}}
	if scale != 1 {
		attrs = append(attrs, Attr{"alpha", scale})
	}
	return g.product(contribDomain, "FusedMatMul", a, b, true, attrs)
}

func (g *Graph) product(domain, op string, a, b Value, transposed bool, attrs []Attr) Value {
	if !g.sameType(op, a, b) || !g.takes(op, numbers, a) {
		return Value{}
	}
	if len(a.shape) < 2 || len(b.shape) < 2 {
		return g.Fail("%s: %v by %v", op, a.shape, b.shape)
	}
	k, n := b.Dim(-2), b.Dim(-1)
	if transposed {
		k, n = n, k
	}
	if a.Dim(-1) != k {
		return g.Fail("%s: %v (%s) by %v (%s): inner dimensions %v and %v differ", op, a.shape, a.name, b.shape, b.name, a.Dim(-1), k)
	}
	batch, err := broadcast(a.shape[:len(a.shape)-2], b.shape[:len(b.shape)-2])
	if err != nil {
		return g.Fail("%s: %w", op, err)
	}
	return g.Op(domain, op, []Value{a, b}, attrs, typed(a.dtype, append(batch, a.Dim(-2), n)))[0]
}

// Linear is x (...,in) times the transpose of weight (out,in), plus bias (out)
// unless it is absent: FusedMatMul, or Gemm, which adds the bias on the way.
func (g *Graph) Linear(x, weight, bias Value) Value {
	if !bias.Valid() {
		return g.MatMulT(x, weight, 1)
	}
	const op = "Gemm"
	if !g.sameType(op, x, weight, bias) {
		return Value{}
	}
	if len(x.shape) < 2 || len(weight.shape) != 2 || x.Dim(-1) != weight.Dim(1) || !bias.shape.Equal(Shape{weight.Dim(0)}) {
		return g.Fail("%s: %v by %s %v plus %s %v", op, x.shape, weight.name, weight.shape, bias.name, bias.shape)
	}
	outer := x.shape[:len(x.shape)-1]
	if outer.symbolic() > 1 { // which no Reshape could take apart again
		return g.Add(g.MatMulT(x, weight, 1), bias)
	}
	flat, rows := x, outer.Elements()
	if len(outer) > 1 {
		flat = g.Reshape(x, rows, x.Dim(-1))
	}
	y := g.Op("", op, []Value{flat, weight, bias}, []Attr{{"transB", int64(1)}}, typed(x.dtype, Shape{rows, weight.Dim(0)}))[0]
	if len(outer) == 1 {
		return y
	}
	return g.Reshape(y, append(outer[:len(outer):len(outer)], weight.Dim(0))...)
}

// ReduceSum adds x up along an axis, which is kept with size 1 or dropped.
func (g *Graph) ReduceSum(x Value, axis int, keep bool) Value {
	return g.reduce("ReduceSum", x, axis, keep)
}

// ReduceMean is the mean of x along an axis.
func (g *Graph) ReduceMean(x Value, axis int, keep bool) Value {
	return g.reduce("ReduceMean", x, axis, keep)
}

// ReduceMax is the largest element of x along an axis.
func (g *Graph) ReduceMax(x Value, axis int, keep bool) Value {
	return g.reduce("ReduceMax", x, axis, keep)
}

// ReduceMin is the smallest element of x along an axis.
func (g *Graph) ReduceMin(x Value, axis int, keep bool) Value {
	return g.reduce("ReduceMin", x, axis, keep)
}

func (g *Graph) reduce(op string, x Value, axis int, keep bool) Value {
	axis, ok := g.axis(op, x, axis)
	if !ok || !g.takes(op, numbers, x) {
		return Value{}
	}
	out, flag := x.shape.with(axis, N(1)), int64(1)
	if !keep {
		out, flag = append(append(Shape(nil), x.shape[:axis]...), x.shape[axis+1:]...), 0
	}
	return g.Op("", op, []Value{x, g.ints(int64(axis))}, []Attr{{"keepdims", flag}}, typed(x.dtype, out))[0]
}

// CumSum adds up x along an axis: element i of the result is the sum of
// elements 0 to i, or to i-1 if exclusive.
func (g *Graph) CumSum(x Value, axis int, exclusive bool) Value {
	axis, ok := g.axis("CumSum", x, axis)
	if !ok || !g.takes("CumSum", numbers, x) {
		return Value{}
	}
	var attrs []Attr
	if exclusive {
		attrs = []Attr{{"exclusive", int64(1)}}
	}
	return g.Op("", "CumSum", []Value{x, Scalar(g, int64(axis))}, attrs, typed(x.dtype, x.shape))[0]
}
