package onnx

// Reshape gives x another shape with the same elements in the same order. At
// most one dimension may be symbolic without standing where x has it.
func (g *Graph) Reshape(x Value, shape ...Dim) Value {
	if !g.need("Reshape", x) {
		return Value{}
	}
	out := Shape(shape)
	if x.shape.Elements() != out.Elements() {
		return g.Fail("Reshape: %v has %v elements, %v has %v", x.shape, x.shape.Elements(), out, out.Elements())
	}
	sizes := make([]int64, len(out))
	inferred := false
	for i, d := range out {
		n, fixed := d.Fixed()
		switch {
		case fixed && n == 0: // it would mean a size that is copied
			return g.Fail("Reshape: %v to %v, which has no elements", x.shape, out)
		case fixed:
			sizes[i] = n
		case i < len(x.shape) && x.shape[i] == d:
			sizes[i] = 0 // copied from x
		case !inferred:
			sizes[i], inferred = -1, true
		default:
			return g.Fail("Reshape: %v to %v has two dimensions that only the run can tell", x.shape, out)
		}
	}
	return g.Op("", "Reshape", []Value{x, g.ints(sizes...)}, nil, typed(x.dtype, out))[0]
}

// ReshapeLike gives x the shape whose sizes the int64 vector sizes holds when
// the graph runs. Nothing of it can be checked while building.
func (g *Graph) ReshapeLike(x, sizes Value, shape ...Dim) Value {
	if !g.need("Reshape", x) || !g.sizes("Reshape", sizes, len(shape)) {
		return Value{}
	}
	return g.Op("", "Reshape", []Value{x, sizes}, nil, typed(x.dtype, shape))[0]
}

// Transpose permutes the dimensions: dimension i of the result is dimension
// perm[i] of x.
func (g *Graph) Transpose(x Value, perm ...int) Value {
	if !g.need("Transpose", x) {
		return Value{}
	}
	if len(perm) != len(x.shape) {
		return g.Fail("Transpose: permutation %v of %v", perm, x.shape)
	}
	out, order, seen := make(Shape, len(perm)), make([]int64, len(perm)), make([]bool, len(perm))
	for i, p := range perm {
		if p < 0 || p >= len(perm) || seen[p] {
			return g.Fail("Transpose: permutation %v of %v", perm, x.shape)
		}
		out[i], order[i], seen[p] = x.shape[p], int64(p), true
	}
	return g.Op("", "Transpose", []Value{x}, []Attr{{"perm", order}}, typed(x.dtype, out))[0]
}

// Unsqueeze inserts dimensions of size 1 so that they stand at axes of the
// result.
func (g *Graph) Unsqueeze(x Value, axes ...int) Value {
	if !g.need("Unsqueeze", x) {
		return Value{}
	}
	out := make(Shape, len(x.shape)+len(axes))
	where := make([]int64, len(axes))
	for i, a := range axes {
		if a < 0 || a >= len(out) || out[a] != (Dim{}) {
			return g.Fail("Unsqueeze: axes %v of %v", axes, x.shape)
		}
		out[a], where[i] = N(1), int64(a)
	}
	next := 0
	for i := range out {
		if out[i] == (Dim{}) {
			out[i] = x.shape[next]
			next++
		}
	}
	return g.Op("", "Unsqueeze", []Value{x, g.ints(where...)}, nil, typed(x.dtype, out))[0]
}

// Squeeze removes the dimension axis, whose size is 1.
func (g *Graph) Squeeze(x Value, axis int) Value {
	axis, ok := g.axis("Squeeze", x, axis)
	if !ok {
		return Value{}
	}
	if x.shape[axis] != N(1) {
		return g.Fail("Squeeze: axis %d of %v is not 1", axis, x.shape)
	}
	out := append(append(Shape(nil), x.shape[:axis]...), x.shape[axis+1:]...)
	return g.Op("", "Squeeze", []Value{x, g.ints(int64(axis))}, nil, typed(x.dtype, out))[0]
}

// Concat joins the values along an axis. If a size along it is symbolic, the
// sum is the dimension total, which must be given then; otherwise total is
// ignored.
func (g *Graph) Concat(axis int, total Dim, values ...Value) Value {
	if len(values) == 0 {
		return g.Fail("Concat: no inputs")
	}
	if !g.sameType("Concat", values...) {
		return Value{}
	}
	axis, ok := g.axis("Concat", values[0], axis)
	if !ok {
		return Value{}
	}
	sum, fixed := int64(0), true
	for _, v := range values {
		if len(v.shape) != len(values[0].shape) {
			return g.Fail("Concat: %v with %v", values[0].shape, v.shape)
		}
		n, ok := v.shape[axis].Fixed()
		sum, fixed = sum+n, fixed && ok
		if !v.shape.with(axis, N(0)).Equal(values[0].shape.with(axis, N(0))) {
			return g.Fail("Concat: %v with %v along axis %d", values[0].shape, v.shape, axis)
		}
	}
	if fixed {
		total = N(sum)
	} else if total == (Dim{}) {
		return g.Fail("Concat: the size of axis %d is symbolic and has no name", axis)
	}
	return g.Op("", "Concat", values, []Attr{{"axis", int64(axis)}}, typed(values[0].dtype, values[0].shape.with(axis, total)))[0]
}

// Split cuts x along an axis into parts of the given sizes, which must fill it.
func (g *Graph) Split(x Value, axis int, sizes ...int64) []Value {
	outs := make([]outputType, len(sizes))
	failed := make([]Value, len(sizes))
	axis, ok := g.axis("Split", x, axis)
	if !ok {
		return failed
	}
	var sum int64
	for i, n := range sizes {
		sum += n
		outs[i] = typed(x.dtype, x.shape.with(axis, N(n)))
	}
	if x.shape[axis] != N(sum) {
		g.Fail("Split: axis %d of %v into %v", axis, x.shape, sizes)
		return failed
	}
	return g.Op("", "Split", []Value{x, g.ints(sizes...)}, []Attr{{"axis", int64(axis)}}, outs...)
}

// Slice is the range [from,to) of x along an axis of known size; negative
// bounds count from the end.
func (g *Graph) Slice(x Value, axis int, from, to int64) Value {
	axis, ok := g.axis("Slice", x, axis)
	if !ok {
		return Value{}
	}
	n, fixed := x.shape[axis].Fixed()
	if !fixed {
		return g.Fail("Slice: axis %d of %v has no known size", axis, x.shape)
	}
	if from < 0 {
		from += n
	}
	if to < 0 {
		to += n
	}
	if from < 0 || to > n || from > to {
		return g.Fail("Slice: [%d,%d) of axis %d of %v", from, to, axis, x.shape)
	}
	return g.SliceTo(x, axis, g.ints(from), g.ints(to), N(to-from))
}

// SliceTo is the range [from,to) of x along an axis, with bounds that only the
// run can tell: int64 vectors of one element. The result has size there.
func (g *Graph) SliceTo(x Value, axis int, from, to Value, size Dim) Value {
	axis, ok := g.axis("Slice", x, axis)
	if !ok || !g.sizes("Slice", from, 1) || !g.sizes("Slice", to, 1) {
		return Value{}
	}
	return g.Op("", "Slice", []Value{x, from, to, g.ints(int64(axis))}, nil, typed(x.dtype, x.shape.with(axis, size)))[0]
}

// Expand broadcasts x to the shape whose sizes the int64 vector sizes holds
// when the graph runs.
func (g *Graph) Expand(x, sizes Value, shape ...Dim) Value {
	if !g.need("Expand", x) || !g.sizes("Expand", sizes, len(shape)) {
		return Value{}
	}
	if out, err := broadcast(x.shape, shape); err != nil || !out.Equal(shape) {
		return g.Fail("Expand: %v to %v", x.shape, Shape(shape))
	}
	return g.Op("", "Expand", []Value{x, sizes}, nil, typed(x.dtype, shape))[0]
}

// ShapeOf is the sizes of x as an int64 vector.
func (g *Graph) ShapeOf(x Value) Value {
	if !g.need("Shape", x) {
		return Value{}
	}
	return g.Op("", "Shape", []Value{x}, nil, typed(Int64, Dims(int64(len(x.shape)))))[0]
}

// SizeOf is the size of x along an axis as an int64 vector of one element.
func (g *Graph) SizeOf(x Value, axis int) Value {
	axis, ok := g.axis("Shape", x, axis)
	if !ok {
		return Value{}
	}
	return g.Op("", "Shape", []Value{x}, []Attr{{"start", int64(axis)}, {"end", int64(axis + 1)}}, typed(Int64, Dims(1)))[0]
}

// Full is a tensor filled with value whose sizes the int64 vector sizes holds:
// the operator ConstantOfShape.
func Full[T scalar](g *Graph, value T, sizes Value, shape ...Dim) Value {
	if !g.sizes("ConstantOfShape", sizes, len(shape)) {
		return Value{}
	}
	dtype := dtypeOf[T]()
	fill := initializer{value: Value{name: "value", dtype: dtype, shape: Dims(1)}, raw: appendRaw(nil, value)}
	return g.Op("", "ConstantOfShape", []Value{sizes}, []Attr{{"value", fill}}, typed(dtype, shape))[0]
}

// Range is 0, 1, ... limit-1 as int64; limit is an int64 scalar.
func (g *Graph) Range(limit Value, size Dim) Value {
	if !g.scalar("Range", limit, Int64) {
		return Value{}
	}
	return g.Op("", "Range", []Value{Scalar(g, int64(0)), limit, Scalar(g, int64(1))}, nil, typed(Int64, Shape{size}))[0]
}

// sizes is need for an int64 vector of n elements. One whose length only the run
// can tell passes.
func (g *Graph) sizes(op string, v Value, n int) bool {
	if !g.need(op, v) {
		return false
	}
	length, fixed := v.Dim(0).Fixed()
	if v.dtype != Int64 || len(v.shape) != 1 || fixed && length != int64(n) {
		g.Fail("%s: sizes %s are %v %v, not int64 (%d)", op, v.name, v.dtype, v.shape, n)
		return false
	}
	return true
}

// scalar is need for a value of the given type without dimensions.
func (g *Graph) scalar(op string, v Value, dtype DType) bool {
	if !g.need(op, v) {
		return false
	}
	if v.dtype != dtype || len(v.shape) != 0 {
		g.Fail("%s: %s is %v %v, not a scalar of type %v", op, v.name, v.dtype, v.shape, dtype)
		return false
	}
	return true
}
