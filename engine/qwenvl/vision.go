package qwenvl

import (
	"fmt"
	"math"
	"slices"

	"github.com/denseflow/densereward/engine/initializers"
	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
)

// visionRopeTheta is the base of the vision towers' rotary embedding.
const visionRopeTheta = 10000

// Vision writes the vision tower into a graph. Patches of all images stand behind
// each other, without padding: activations are (P,hidden). They come in window
// order, in which the patches of a window lie together and windows of one size
// form a run: see layout. Blocks attend within windows, but for a few that see
// their whole image.
type Vision struct {
	w     *initializers.Set
	c     checkpoint.VisionConfig
	dtype onnx.DType
	p     checkpoint.PreprocessorConfig

	known  knownRuns
	shared map[string]runBounds

	in       map[string]onnx.Value
	patches  onnx.Dim   // P
	units    onnx.Dim   // U: merged patches, P/merge^2
	cos, sin onnx.Value // of the rotary embedding
}

// knownRuns are the numbers of runs of windows and of images in every batch; 0 is any.
type knownRuns struct{ windows, images int }

// NewVision makes the tower and its inputs, which describe the patches of a
// batch's images: see Batch. Of the options it reads DType, Patches, Grid and Operators.
func NewVision(g *onnx.Graph, w *initializers.Set, c checkpoint.Config, o Options) *Vision {
	g.Use(o.Operators)
	v := &Vision{
		w: w, c: c.Vision, p: c.Preprocessor, dtype: o.DType, in: map[string]onnx.Value{}, units: onnx.Sym("units"),
		shared: map[string]runBounds{},
	}
	if o.Grid.Units() > 0 {
		l := newLayout([]checkpoint.Grid{o.Grid}, c.Vision.WindowSize/c.UnitPixels())
		v.known = knownRuns{len(l.runs), len(l.images)}
	}
	v.patches = v.units.Times(onnx.N(int64(v.c.UnitPatches())))
	if o.Patches {
		v.in[InputPatches] = g.Input(InputPatches, onnx.Float32, onnx.Shape{v.patches, onnx.N(int64(v.c.PatchValues()))})
	} else {
		v.in[InputPixels] = g.Input(InputPixels, onnx.Uint8, onnx.Shape{v.patches, onnx.N(int64(v.c.PatchPixels()))})
	}
	v.input(g, InputPatchPositions, v.patches, onnx.N(2))
	v.input(g, InputUnitOrder, v.units)
	v.input(g, InputImageRuns, onnx.Sym("image_runs"), onnx.N(3))
	if v.c.PositionsSide > 0 {
		v.input(g, InputCorners, v.patches, onnx.N(4))
		v.in[InputCornerWeights] = g.Input(InputCornerWeights, onnx.Float32, onnx.Shape{v.patches, onnx.N(4)})
	}
	if v.c.Windowed() {
		v.input(g, InputWindowRuns, onnx.Sym("window_runs"), onnx.N(3))
		v.input(g, InputImageOrder, v.patches)
		v.input(g, InputWindowOrder, v.patches)
	}
	return v
}

func (v *Vision) input(g *onnx.Graph, name string, dims ...onnx.Dim) {
	v.in[name] = g.Input(name, onnx.Int64, dims)
}

// rotary computes the cosines and sines (P,width/2) of the two-dimensional rotary
// embedding for heads of size that stand side by side in width: the first half of
// a head's row turns with the patch's row in its image, the second with its
// column.
func (v *Vision) rotary(g *onnx.Graph, size, width int) (cos, sin onnx.Value) {
	freqs := make([]float32, size/4)
	for f := range freqs {
		freqs[f] = float32(1 / math.Pow(visionRopeTheta, float64(4*f)/float64(size)))
	}
	at := g.Unsqueeze(g.Cast(v.in[InputPatchPositions], onnx.Float32), 2) // (P,2,1)
	angles := g.Mul(at, onnx.Const(g, freqs, 1, int64(len(freqs))))
	head := g.Reshape(angles, v.patches, onnx.N(int64(size/2)))
	side := func(x onnx.Value) onnx.Value {
		x = g.Cast(x, v.dtype)
		if heads := width / size; heads > 1 {
			return g.Concat(1, onnx.Dim{}, slices.Repeat([]onnx.Value{x}, heads)...)
		}
		return x
	}
	return side(g.Cos(head)), side(g.Sin(head))
}

// Features adds the tower to g: the merged units (U,out), image after image, in
// raster order, and what the first layers of the language model get beside them, in
// the same order.
func (v *Vision) Features(g *onnx.Graph) (out onnx.Value, deep []onnx.Value) {
	patches := v.in[InputPatches]
	if !patches.Valid() {
		patches = v.Normalised(g)
	}
	g.Scope("visual", func() {
		size := v.c.HiddenSize / v.c.NumHeads
		width := size
		if !v.fused(g) {
			width = v.rotaryWidth()
		}
		v.cos, v.sin = v.rotary(g, size, width)
		if v.c.PositionsSide > 0 {
			out, deep = v.features3(g, patches)
		} else {
			out = v.features25(g, patches)
		}
	})
	return out, deep
}

// rotaryWidth is the width of what is rotated as one head: as many heads as fit
// into a block of threads of a GPU, which has little to do for a single one.
func (v *Vision) rotaryWidth() int {
	const most = 1024
	size, heads := v.c.HiddenSize/v.c.NumHeads, v.c.NumHeads
	for heads*size > most && heads%2 == 0 {
		heads /= 2
	}
	return heads * size
}

// rotated is the weight (3*hidden,hidden) and bias of a block's queries, keys and values,
// in which the elements of each head's queries and keys are in an order that makes
// neighbours of the pairs that turn against each other: several heads can then be rotated
// as one, and their products are the same.
func (v *Vision) rotated(prefix string) (weight, bias onnx.Value, rows []int64) {
	hidden := v.c.HiddenSize
	size := hidden / v.c.NumHeads
	rows = make([]int64, 3*hidden)
	for i := range rows {
		rows[i] = int64(i)
		if i < 2*hidden {
			head, at := i/size*size, i%size
			rows[i] = int64(head + at/2 + at%2*(size/2))
		}
	}
	return v.w.Tensor(prefix+".weight", v.dtype, int64(3*hidden), int64(hidden)), v.w.Tensor(prefix+".bias", v.dtype, int64(3*hidden)), rows
}

// picked is some rows of a tensor, once, when a session loads the graph.
func (v *Vision) picked(name string, x onnx.Value, rows []int64) onnx.Value {
	return v.w.Once(name+" of "+x.Name(), func(top *onnx.Graph) onnx.Value {
		return top.Gather(x, onnx.Const(top, rows, int64(len(rows))), 0)
	})
}

// queries is the rotated queries and keys and the values of h, (P,hidden) each.
func (v *Vision) queries(g *onnx.Graph, h onnx.Rows, prefix string) (qkv [3]onnx.Value) {
	weight, bias, rows := v.rotated(prefix)
	heads := int64(v.c.HiddenSize / v.rotaryWidth())
	for i := range qkv {
		third := fmt.Sprintf("third %d", i)
		own := rows[i*v.c.HiddenSize : (i+1)*v.c.HiddenSize]
		qkv[i] = g.TimesPlus(h, v.picked(third, weight, own), v.picked(third, bias, own))
		if i < 2 {
			qkv[i] = g.Rotate(qkv[i], v.cos, v.sin, heads, true)
		}
	}
	return qkv
}

// attend is the attention of a block within windows, or, if full, within images: of h
// (P,hidden), which is projected to queries, keys and values.
func (v *Vision) attend(g *onnx.Graph, h onnx.Rows, prefix string, full bool) (out onnx.Value) {
	var order onnx.Value
	runs, n := InputWindowRuns, v.known.windows
	if full || !v.c.Windowed() {
		runs, n = InputImageRuns, v.known.images
	}
	if full && v.c.Windowed() {
		order = v.in[InputImageOrder]
	}
	if v.fused(g) {
		out = v.attendFused(g, h, prefix, order, runs, n)
	} else {
		qkv := v.queries(g, h, prefix)
		for i, x := range qkv {
			if order.Valid() {
				qkv[i] = g.Gather(x, order, 0)
			}
		}
		out = v.attendRuns(g, qkv, runs, n)
	}
	if order.Valid() {
		out = g.Gather(out, v.in[InputWindowOrder], 0)
	}
	return out
}

// fused reports whether the graph rotates and cuts runs in one operator.
func (v *Vision) fused(g *onnx.Graph) bool {
	return g.Fuses(onnx.FusedRotaryRuns, v.dtype, onnx.N(int64(v.c.HiddenSize)))
}

// attendFused is attendRuns of what is made of h in one operator.
func (v *Vision) attendFused(g *onnx.Graph, h onnx.Rows, prefix string, order onnx.Value, runs string, n int) onnx.Value {
	weight, bias, rows := v.rotated(prefix)
	weight, bias = v.picked("paired rows", weight, rows), v.picked("paired rows", bias, rows)
	size := int64(v.c.HiddenSize)
	width := onnx.N(size)
	flat := onnx.Const(g, []int64{-1, size}, 2)
	if n == 0 { // one run of all rows, which are cut later
		all := g.Concat(0, onnx.Dim{}, onnx.Const(g, []int64{0}, 1), g.SizeOf(v.cos, 0), onnx.Const(g, []int64{1}, 1))
		whole := g.RotaryRuns(h, weight, bias, v.cos, v.sin, order, g.Unsqueeze(all, 0), 1)[0]
		for i, x := range whole {
			whole[i] = g.ReshapeLike(x, flat, v.patches, width)
		}
		return v.attendRuns(g, whole, runs, 0)
	}
	parts := make([]onnx.Value, n)
	for i, run := range g.RotaryRuns(h, weight, bias, v.cos, v.sin, order, v.in[runs], n) {
		parts[i] = g.ReshapeLike(g.MultiHeadAttention(run[0], run[1], run[2], int64(v.c.NumHeads), 0), flat, g.NewSym("run"), width)
	}
	if n == 1 {
		return g.ReshapeLike(parts[0], flat, v.patches, width)
	}
	return g.ReshapeLike(g.Concat(0, g.NewSym("attended"), parts...), flat, v.patches, width)
}

// attendRuns is attention within pieces of the sequence of patches: the input runs
// (n,3) lists where pieces of one size begin and end, and that size. Where n is known,
// a GPU need not wait to be told each run's bounds; 0 is any number.
func (v *Vision) attendRuns(g *onnx.Graph, qkv [3]onnx.Value, runs string, n int) onnx.Value {
	width := qkv[0].Dim(1)
	size, _ := width.Fixed()
	var out onnx.Value
	if n > 0 {
		parts := make([]onnx.Value, n)
		for i := range parts {
			parts[i] = v.attendRun(g, qkv, v.bounds(g, runs, i))
		}
		out = g.Concat(0, g.NewSym("attended"), parts...)
	} else {
		done := g.NewSym("attended")
		none := g.Cast(onnx.Full(g, float32(0), onnx.Const(g, []int64{0, size}, 2), onnx.N(0), width), v.dtype)
		limit := g.Squeeze(g.SizeOf(v.in[runs], 0), 0)
		out = g.Loop(limit, onnx.Scalar(g, true), []onnx.Value{none}, []onnx.Shape{{done, width}}, onnx.Dim{},
			func(b *onnx.Graph, turn onnx.Value, carried []onnx.Value) (again onnx.Value, next, collected []onnx.Value) {
				part := v.attendRun(b, qkv, boundsOf(b, b.Gather(v.in[runs], turn, 0)))
				return onnx.Scalar(b, true), []onnx.Value{b.Concat(0, done, carried[0], part)}, nil
			})[0]
	}
	return g.ReshapeLike(out, onnx.Const(g, []int64{-1, size}, 2), v.patches, width)
}

// runBounds are a run's beginning, end and the size of its pieces, int64 vectors of one
// element.
type runBounds struct{ begin, end, piece onnx.Value }

func boundsOf(g *onnx.Graph, run onnx.Value) runBounds {
	return runBounds{g.Slice(run, 0, 0, 1), g.Slice(run, 0, 1, 2), g.Slice(run, 0, 2, 3)}
}

// bounds are those of run i, which all blocks share.
func (v *Vision) bounds(g *onnx.Graph, runs string, i int) runBounds {
	key := fmt.Sprint(runs, i)
	if b, ok := v.shared[key]; ok {
		return b
	}
	b := boundsOf(g, g.Gather(v.in[runs], onnx.Scalar(g, int64(i)), 0))
	v.shared[key] = b
	return b
}

// attendRun is attention within the pieces of one run, (end-begin,hidden): they are
// the rows of one batch, so nothing is padded and nothing masked.
func (v *Vision) attendRun(g *onnx.Graph, qkv [3]onnx.Value, run runBounds) onnx.Value {
	width := qkv[0].Dim(1)
	size, _ := width.Fixed()
	part, pieces, places := g.NewSym("run"), g.NewSym("pieces"), g.NewSym("piece")
	sizes := g.Concat(0, onnx.Dim{}, onnx.Const(g, []int64{-1}, 1), run.piece, onnx.Const(g, []int64{size}, 1))
	rows := func(x onnx.Value) onnx.Value {
		return g.ReshapeLike(g.SliceTo(x, 0, run.begin, run.end, part), sizes, pieces, places, width)
	}
	attended := g.MultiHeadAttention(rows(qkv[0]), rows(qkv[1]), rows(qkv[2]), int64(v.c.NumHeads), 0)
	return g.ReshapeLike(attended, onnx.Const(g, []int64{-1, size}, 2), part, width)
}
