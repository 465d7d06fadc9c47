package onnx

// Gather picks slices of x along an axis by index: the result has the shape of
// indices where x has that axis.
func (g *Graph) Gather(x, indices Value, axis int) Value {
	axis, ok := g.axis("Gather", x, axis)
	if !ok || !g.index("Gather", indices) {
		return Value{}
	}
	out := append(Shape(nil), x.shape[:axis]...)
	out = append(append(out, indices.shape...), x.shape[axis+1:]...)
	return g.Op("", "Gather", []Value{x, indices}, []Attr{{"axis", int64(axis)}}, typed(x.dtype, out))[0]
}

// GatherElements picks elements of x along an axis: out[i][j] is
// x[indices[i][j]][j] for axis 0. The result has the shape of indices.
func (g *Graph) GatherElements(x, indices Value, axis int) Value {
	axis, ok := g.axis("GatherElements", x, axis)
	if !ok || !g.index("GatherElements", indices) {
		return Value{}
	}
	if len(indices.shape) != len(x.shape) {
		return g.Fail("GatherElements: indices %v of %v", indices.shape, x.shape)
	}
	return g.Op("", "GatherElements", []Value{x, indices}, []Attr{{"axis", int64(axis)}}, typed(x.dtype, indices.shape))[0]
}

// ScatterElements is x with elements along an axis replaced by updates, at the
// places that indices name as in GatherElements.
func (g *Graph) ScatterElements(x, indices, updates Value, axis int) Value {
	axis, ok := g.axis("ScatterElements", x, axis)
	if !ok || !g.index("ScatterElements", indices) || !g.sameType("ScatterElements", x, updates) {
		return Value{}
	}
	if !indices.shape.Equal(updates.shape) || len(indices.shape) != len(x.shape) {
		return g.Fail("ScatterElements: indices %v and updates %v of %v", indices.shape, updates.shape, x.shape)
	}
	return g.Op("", "ScatterElements", []Value{x, indices, updates}, []Attr{{"axis", int64(axis)}}, typed(x.dtype, x.shape))[0]
}

// ScatterND is x with slices replaced by updates, at the places that the index
// tuples name.
func (g *Graph) ScatterND(x, indices, updates Value) Value {
	if !g.index("ScatterND", indices) || !g.sameType("ScatterND", x, updates) {
		return Value{}
	}
	k, ok := indices.Dim(-1).Fixed()
	if !ok || len(indices.shape) == 0 || k > int64(len(x.shape)) {
		return g.Fail("ScatterND: indices %v of %v", indices.shape, x.shape)
	}
	slices := append(append(Shape(nil), indices.shape[:len(indices.shape)-1]...), x.shape[k:]...)
	if !updates.shape.Equal(slices) {
		return g.Fail("ScatterND: updates %v, but indices %v of %v name %v", updates.shape, indices.shape, x.shape, slices)
	}
	return g.Op("", "ScatterND", []Value{x, indices, updates}, nil, typed(x.dtype, x.shape))[0]
}

// ArgMax is the index of the largest element along an axis, the first one
// where several are equal. The axis is dropped.
func (g *Graph) ArgMax(x Value, axis int) Value {
	axis, ok := g.axis("ArgMax", x, axis)
	if !ok || !g.takes("ArgMax", numbers, x) {
		return Value{}
	}
	out := append(append(Shape(nil), x.shape[:axis]...), x.shape[axis+1:]...)
	return g.Op("", "ArgMax", []Value{x}, []Attr{{"axis", int64(axis)}, {"keepdims", int64(0)}}, typed(Int64, out))[0]
}

// index is need for a tensor of indices.
func (g *Graph) index(op string, v Value) bool {
	if !g.need(op, v) {
		return false
	}
	if v.dtype != Int64 && v.dtype != Int32 {
		g.Fail("%s: indices are %v", op, v.dtype)
		return false
	}
	return true
}
