package onnx

// UpsampleNearest repeats every element of x (N,C,H,W) factor times along H
// and W; with channelsLast x is (N,H,W,C). It is the operator Resize.
func (g *Graph) UpsampleNearest(x Value, factor int64, channelsLast bool) Value {
	if !g.need("Resize", x) {
		return Value{}
	}
	if len(x.shape) != 4 || factor < 1 {
		return g.Fail("Resize: %v by %d", x.shape, factor)
	}
	height := 2
	if channelsLast {
		height = 1
	}
	out := x.shape.with(height, x.Dim(height).Times(N(factor)))
	out = out.with(height+1, x.Dim(height+1).Times(N(factor)))
	scales := []float32{1, 1, 1, 1}
	scales[height], scales[height+1] = float32(factor), float32(factor)
	return g.Op("", "Resize", []Value{x, {}, Const(g, scales, 4)}, []Attr{
		{"mode", "nearest"}, {"nearest_mode", "floor"}, {"coordinate_transformation_mode", "asymmetric"},
	}, typed(x.dtype, out))[0]
}

// DepthToSpace lays the channels of x (N,C*r*r,H,W) out as pixels (N,C,H*r,W*r):
// channel c*r*r+dy*r+dx of cell (y,x) is channel c of pixel (y*r+dy, x*r+dx), as
// in torch's pixel_shuffle.
func (g *Graph) DepthToSpace(x Value, factor int64) Value {
	const op = "DepthToSpace"
	if !g.need(op, x) {
		return Value{}
	}
	if len(x.shape) != 4 || factor < 1 {
		return g.Fail("%s: %v by %d", op, x.shape, factor)
	}
	channels, ok := x.Dim(1).Fixed()
	if !ok || channels%(factor*factor) != 0 {
		return g.Fail("%s: %v by %d", op, x.shape, factor)
	}
	out := Shape{x.Dim(0), N(channels / factor / factor), x.Dim(2).Times(N(factor)), x.Dim(3).Times(N(factor))}
	return g.Op("", op, []Value{x}, []Attr{{"blocksize", factor}, {"mode", "CRD"}}, typed(x.dtype, out))[0]
}

// GroupNorm normalises each of the given number of groups of channels of x
// (N,C,H,W) over the image to mean 0 and variance 1, then multiplies by
// weight (C) and adds bias (C). It is written with InstanceNormalization, for
// which both CPU and CUDA have kernels, of x with a group as one long channel.
func (g *Graph) GroupNorm(x, weight, bias Value, groups int64, eps float32) Value {
	if !g.sameType("GroupNorm", x, weight, bias) {
		return Value{}
	}
	if !g.groups("GroupNorm", x, 1, groups, weight, bias) {
		return Value{}
	}
	channels, _ := x.Dim(1).Fixed()
	size := N(channels / groups).Times(x.Dim(2)).Times(x.Dim(3))
	grouped := g.Reshape(x, x.Dim(0), N(groups), size)
	normed := g.Op("", "InstanceNormalization",
		[]Value{grouped, g.fill(x.dtype, 1, groups), g.fill(x.dtype, 0, groups)},
		[]Attr{{"epsilon", eps}}, typed(x.dtype, grouped.shape))[0]
	normed = g.ReshapeLike(normed, g.ShapeOf(x), x.shape...)
	column := []Dim{N(channels), N(1), N(1)}
	return g.Add(g.Mul(normed, g.Reshape(weight, column...)), g.Reshape(bias, column...))
}

// GroupNormLast is GroupNorm of x (N,H,W,C), followed by x * sigmoid(x) where
// silu is set: com.microsoft GroupNorm, for which CUDA alone has a kernel.
// Weight and bias are float32 whatever x is.
func (g *Graph) GroupNormLast(x, weight, bias Value, groups int64, eps float32, silu bool) Value {
	const op = "GroupNorm"
	if !g.need(op, x) || !g.sameType(op, weight, bias) || !g.groups(op, x, 3, groups, weight, bias) {
		return Value{}
	}
	if weight.dtype != Float32 {
		return g.Fail("%s: weight %s is %v, not float32", op, weight.name, weight.dtype)
	}
	activation := int64(0)
	if silu {
		activation = 1
	}
	return g.Op(contribDomain, op, []Value{x, weight, bias}, []Attr{
		{"epsilon", eps}, {"groups", groups}, {"activation", activation}, {"channels_last", int64(1)},
	}, typed(x.dtype, x.shape))[0]
}

// groups checks the inputs of a group normalisation whose channels are axis
// axis of x.
func (g *Graph) groups(op string, x Value, axis int, groups int64, weight, bias Value) bool {
	channels, ok := x.Dim(axis).Fixed()
	if len(x.shape) != 4 || !ok || groups < 1 || channels%groups != 0 {
		g.Fail("%s: %v in %d groups", op, x.shape, groups)
		return false
	}
	for _, v := range []Value{weight, bias} {
		if !v.shape.Equal(Dims(channels)) {
			g.Fail("%s: %s %v for %d channels", op, v.name, v.shape, channels)
			return false
		}
	}
	return true
}

// fill is a vector of n elements of a floating-point type, all equal to v.
func (g *Graph) fill(dtype DType, v float32, n int64) Value {
	data := make([]float32, n)
	for i := range data {
		data[i] = v
	}
	return g.Cast(Const(g, data, n), dtype)
}

// ConvLast is the convolution of x (N,H,W,C) with weight (M,kh,kw,C) and bias
// (M), stride 1 and padding that keeps the size: com.microsoft NhwcConv, for
// which CUDA alone has a kernel, and only where weight is constant: an
// initializer, or computed from initializers alone.
func (g *Graph) ConvLast(x, weight, bias Value) Value {
	const op = "NhwcConv"
	if !g.sameType(op, x, weight) {
		return Value{}
	}
	kh, heightOK := weight.Dim(1).Fixed()
	kw, widthOK := weight.Dim(2).Fixed()
	if len(x.shape) != 4 || len(weight.shape) != 4 || x.Dim(3) != weight.Dim(3) ||
		!heightOK || !widthOK || kh%2 == 0 || kw%2 == 0 {
		return g.Fail("%s: %v with kernel %s %v", op, x.shape, weight.name, weight.shape)
	}
	if bias.Valid() && (bias.dtype != x.dtype || !bias.shape.Equal(Shape{weight.Dim(0)})) {
		return g.Fail("%s: bias %s %v %v for kernel %v", op, bias.name, bias.dtype, bias.shape, weight.shape)
	}
	top, left := (kh-1)/2, (kw-1)/2
	return g.Op(contribDomain, op, []Value{x, weight, bias}, []Attr{
		{"kernel_shape", []int64{kh, kw}}, {"pads", []int64{top, left, top, left}},
	}, typed(x.dtype, x.shape.with(3, weight.Dim(0))))[0]
}

// Clip limits x to the range [low,high].
func (g *Graph) Clip(x Value, low, high float32) Value {
	if !g.need("Clip", x) || !g.takes("Clip", floats, x) {
		return Value{}
	}
	return g.Op("", "Clip", []Value{x, g.ScalarOf(x.dtype, low), g.ScalarOf(x.dtype, high)}, nil, typed(x.dtype, x.shape))[0]
}

// Round is x rounded to whole numbers, halves to the even one.
func (g *Graph) Round(x Value) Value { return g.unary("Round", floats, x) }
