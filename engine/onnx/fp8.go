package onnx

// FP8 has products of a graph computed in eight bits: see Rows. It is no operator of
// AllOperators, since it changes what is computed. On NVIDIA GPUs operators of package
// engine/ort do it, in bfloat16; with WrittenOut, plain nodes, in any type.
const FP8 = WrittenOut << 1

// Rows are activations on their way into products: as they are, or in e4m3, in which each
// row is divided by a scale that its largest number is to 448.
type Rows struct {
	x      Value // (...,in)
	scales Value // (...) float32; absent where x is as it was
	dtype  DType // of what was quantised, and of products
}

// Limits of quantised rows: cuBLASLt wants rows of multiples of 16 bytes, and a kernel's
// block has a row of so many numbers at most.
const (
	fp8Multiple = 16
	fp8Widest   = 512 * 3 * 8
	fp8Largest  = 448
	fp8Least    = 1e-12 // that the largest number of a row counts as
)

// quantises reports whether rows of type dtype and so many numbers are quantised on their
// way into a product of so many outputs.
func (g *Graph) quantises(dtype DType, in, out Dim) bool {
	if g.operators&FP8 == 0 || dtype != BFloat16 && g.operators&WrittenOut == 0 {
		return false
	}
	wide, known := in.Fixed()
	products, fixed := out.Fixed()
	return known && fixed && wide%fp8Multiple == 0 && products%fp8Multiple == 0 && wide <= fp8Widest
}

// Rows are x (...,in) on their way into products of so many outputs each.
func (g *Graph) Rows(x Value, out int64) Rows {
	if !g.need("Rows", x) || !g.quantises(x.dtype, x.Dim(-1), N(out)) {
		return Rows{x: x, dtype: x.dtype}
	}
	return g.inEightBits(x)
}

// inEightBits is x in e4m3.
func (g *Graph) inEightBits(x Value) Rows {
	dtype, last := x.dtype, len(x.shape)-1
	if g.operators&WrittenOut == 0 {
		out := g.custom("QuantizeRows", []Value{x}, nil, typed(Float8, x.shape), typed(Float32, x.shape[:last]))
		return Rows{out[0], out[1], dtype}
	}
	x = g.Cast(x, Float32)
	largest := g.Max(g.ReduceMax(x, -1, true), g.Neg(g.ReduceMin(x, -1, true)))
	largest = g.Max(largest, Scalar(g, float32(fp8Least)))
	most := Scalar(g, float32(fp8Largest))
	return Rows{g.Cast(g.Mul(x, g.Div(most, largest)), Float8), g.Squeeze(g.Div(largest, most), last), dtype}
}

// Times is r (...,in) times the transpose of weight (out,in), as MatMulT has it. The
// weight is quantised as rows are, if they are; it is the same in every run of a session.
func (g *Graph) Times(r Rows, weight Value) Value {
	if !r.scales.Valid() || !weight.Valid() {
		return g.MatMulT(r.x, weight, 1)
	}
	if g.operators&WrittenOut == 0 {
		return g.scaled(r, weight)
	}
	if _, ok := g.quantised[weight.name]; !ok {
		g.quantised[weight.name] = weight.g.inEightBits(weight)
	}
	w := g.quantised[weight.name]
	y := g.MatMulT(g.Cast(r.x, Float32), g.Cast(w.x, Float32), 1)
	return g.Cast(g.Mul(g.Mul(y, g.Unsqueeze(r.scales, len(r.scales.shape))), w.scales), r.dtype)
}

// scaled is Times of quantised rows. The operator makes eight bits of a weight once for all
// uses in the graph, which know it by numbers.
func (g *Graph) scaled(r Rows, weight Value) Value {
	if len(weight.shape) != 2 || r.x.Dim(-1) != weight.Dim(1) {
		return g.Fail("ScaledProduct: %v by %v", r.x.shape, weight.shape)
	}
	if _, ok := g.kept[weight.name]; !ok {
		g.kept[weight.name] = int64(len(g.kept))
	}
	out := r.x.shape.with(len(r.x.shape)-1, weight.Dim(0))
	return g.custom("ScaledProduct", []Value{r.x, r.scales, weight}, []Attr{{"graph", g.id}, {"weight", g.kept[weight.name]}}, typed(r.dtype, out))[0]
}

// TimesPlus is Times plus bias (out) unless it is absent.
func (g *Graph) TimesPlus(r Rows, weight, bias Value) Value {
	if !r.scales.Valid() {
		return g.Linear(r.x, weight, bias)
	}
	y := g.Times(r, weight)
	if !bias.Valid() {
		return y
	}
	return g.Add(y, bias)
}

// NormedRows is the RMSNorm of x plus skip plus bias (C) on its way into products of so many
// outputs, and that sum. Bias may be absent, or skip, shaped as x, and bias.
func (g *Graph) NormedRows(x, skip, weight, bias Value, eps float32, out int64) (normed Rows, sum Value) {
	if !g.sameType("NormedRows", x, weight) || !g.perChannel("NormedRows", x, weight) {
		return Rows{}, Value{}
	}
	if bias.Valid() && !skip.Valid() {
		return Rows{}, g.Fail("NormedRows: a bias, but nothing to skip to")
	}
	if g.operators&WrittenOut != 0 || !g.quantises(x.dtype, x.Dim(-1), N(out)) {
		if !skip.Valid() {
			return g.Rows(g.RMSNorm(x, weight, eps), out), x
		}
		y, sum := g.SkipRMSNorm(x, skip, weight, bias, eps)
		return g.Rows(y, out), sum
	}
	outs := []outputType{typed(Float8, x.shape), typed(Float32, x.shape[:len(x.shape)-1])}
	if skip.Valid() {
		outs = append(outs, typed(x.dtype, x.shape))
	}
	v := append(g.custom("QuantizeNorm", []Value{x, weight, skip, bias}, []Attr{{"epsilon", eps}}, outs...), x)
	return Rows{v[0], v[1], x.dtype}, v[2]
}

// gatedRows is swiGLU of x (...,2*inner) on its way into products of so many outputs.
func (g *Graph) gatedRows(x, bias Value, out int64) Rows {
	wide, _ := x.Dim(-1).Fixed()
	if inner := N(wide / 2); g.operators&WrittenOut == 0 && g.quantises(x.dtype, inner, N(out)) {
		shape := x.shape.with(len(x.shape)-1, inner)
		v := g.custom("QuantizeSwiGLU", []Value{x, bias}, nil, typed(Float8, shape), typed(Float32, shape[:len(shape)-1]))
		return Rows{v[0], v[1], x.dtype}
	}
	return g.Rows(g.swiGLU(x, bias), out)
}
