package onnx

// LayerNorm normalises x over its last dimension to mean 0 and variance 1, then
// multiplies by weight and adds bias.
func (g *Graph) LayerNorm(x, weight, bias Value, eps float32) Value {
	if !g.sameType("LayerNormalization", x, weight, bias) {
		return Value{}
	}
	if !g.perChannel("LayerNormalization", x, weight) || !g.perChannel("LayerNormalization", x, bias) {
		return Value{}
	}
	return g.Op("", "LayerNormalization", []Value{x, weight, bias},
		[]Attr{{"axis", int64(-1)}, {"epsilon", eps}}, typed(x.dtype, x.shape))[0]
}

// RMSNorm divides x by the root of its mean square over the last dimension and
// multiplies by weight: ONNX Runtime's SimplifiedLayerNormalization.
func (g *Graph) RMSNorm(x, weight Value, eps float32) Value {
	if !g.sameType("SimplifiedLayerNormalization", x, weight) || !g.perChannel("SimplifiedLayerNormalization", x, weight) {
		return Value{}
	}
	return g.Op("", "SimplifiedLayerNormalization", []Value{x, weight},
		[]Attr{{"axis", int64(-1)}, {"epsilon", eps}, {"stash_type", int64(1)}}, typed(x.dtype, x.shape))[0]
}

// SkipRMSNorm adds x, skip and, unless it is absent, bias, and returns the
// RMSNorm of the sum and the sum itself: com.microsoft
// SkipSimplifiedLayerNormalization. skip has the shape of x, or 1 in place of
// its batch.
func (g *Graph) SkipRMSNorm(x, skip, weight, bias Value, eps float32) (normed, sum Value) {
	const op = "SkipSimplifiedLayerNormalization"
	if !g.sameType(op, x, skip, weight) || !g.perChannel(op, x, weight) {
		return Value{}, Value{}
	}
	if bias.Valid() && (!g.sameType(op, x, bias) || !g.perChannel(op, x, bias)) {
		return Value{}, Value{}
	}
	if !x.shape.Equal(skip.shape) && (len(x.shape) != 3 || !skip.shape.Equal(x.shape.with(0, N(1)))) {
		return g.Fail("%s: %v with %v", op, x.shape, skip.shape), Value{}
	}
	t := typed(x.dtype, x.shape)
	out := g.Op(contribDomain, op, []Value{x, skip, weight, bias}, []Attr{{"epsilon", eps}}, t, outputType{}, outputType{}, t)
	return out[0], out[3]
}

// perChannel reports whether w has one element for each channel of x, its last
// dimension.
func (g *Graph) perChannel(op string, x, w Value) bool {
	if len(w.shape) != 1 || w.shape[0] != x.Dim(-1) {
		g.Fail("%s: weight %s %v for %v", op, w.name, w.shape, x.shape)
		return false
	}
	return true
}
