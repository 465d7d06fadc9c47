package onnx

// Conv is the convolution of x (N,C,H,W) with weight (M,C,kh,kw) and bias (M),
// stride 1, zero padding pad on every side. bias may be absent.
func (g *Graph) Conv(x, weight, bias Value, pad int64) Value {
	return g.ConvGroups(x, weight, bias, pad, 1)
}

// ConvGroups is Conv in groups of channels that do not see each other: x
// (N,C,H,W) with weight (M,C/groups,kh,kw), where output channels i*M/groups to
// (i+1)*M/groups see the i-th C/groups input channels.
func (g *Graph) ConvGroups(x, weight, bias Value, pad, groups int64) Value {
	if !g.kernel("Conv", x, weight, bias, 1, 0, groups) {
		return Value{}
	}
	kh, _ := weight.Dim(2).Fixed()
	kw, _ := weight.Dim(3).Fixed()
	out := Shape{x.Dim(0), weight.Dim(0), x.Dim(2), x.Dim(3)}
	for i, k := range []int64{kh, kw} {
		if grow := 2*pad - (k - 1); grow != 0 {
			n, ok := x.Dim(2 + i).Fixed()
			if !ok {
				return g.Fail("Conv: %v with kernel %v and padding %d changes a size that only the run can tell", x.shape, weight.shape, pad)
			}
			if n+grow < 1 {
				return g.Fail("Conv: kernel %v is larger than %v with padding %d", weight.shape, x.shape, pad)
			}
			out[2+i] = N(n + grow)
		}
	}
	attrs := []Attr{{"kernel_shape", []int64{kh, kw}}, {"pads", []int64{pad, pad, pad, pad}}}
	if groups != 1 {
		attrs = append(attrs, Attr{"group", groups})
	}
	return g.Op("", "Conv", []Value{x, weight, bias}, attrs, typed(x.dtype, out))[0]
}

// ConvTranspose doubles the height and width of x (N,C,H,W) with weight
// (C,M,3,3) and bias (M): stride 2, padding 1, output padding 1.
func (g *Graph) ConvTranspose(x, weight, bias Value) Value {
	if !g.kernel("ConvTranspose", x, weight, bias, 0, 1, 1) {
		return Value{}
	}
	if weight.Dim(2) != N(3) || weight.Dim(3) != N(3) {
		return g.Fail("ConvTranspose: kernel %v is not 3x3", weight.shape)
	}
	out := Shape{x.Dim(0), weight.Dim(1), x.Dim(2).Times(N(2)), x.Dim(3).Times(N(2))}
	return g.Op("", "ConvTranspose", []Value{x, weight, bias}, []Attr{
		{"kernel_shape", []int64{3, 3}}, {"strides", []int64{2, 2}},
		{"pads", []int64{1, 1, 1, 1}}, {"output_padding", []int64{1, 1}},
	}, typed(x.dtype, out))[0]
}

// kernel checks x, weight and bias of a convolution; in and out are the
// weight's dimensions of input and output channels.
func (g *Graph) kernel(op string, x, weight, bias Value, in, out int, groups int64) bool {
	if !g.sameType(op, x, weight) {
		return false
	}
	if len(x.shape) != 4 || len(weight.shape) != 4 || x.Dim(1) != weight.Dim(in).Times(N(groups)) {
		g.Fail("%s: %v with kernel %s %v", op, x.shape, weight.name, weight.shape)
		return false
	}
	if made, ok := weight.Dim(out).Fixed(); groups != 1 && (!ok || groups < 1 || made%groups != 0) {
		g.Fail("%s: kernel %s %v in %d groups", op, weight.name, weight.shape, groups)
		return false
	}
	if bias.Valid() && (bias.dtype != x.dtype || !bias.shape.Equal(Shape{weight.Dim(out)})) {
		g.Fail("%s: bias %s %v %v for kernel %v", op, bias.name, bias.dtype, bias.shape, weight.shape)
		return false
	}
	return true
}
