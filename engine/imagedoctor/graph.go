package imagedoctor

import (
	"github.com/denseflow/densereward/engine/initializers"
	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/qwenvl"
)

// Names of what the graph has beside the model's inputs and outputs. B is the
// number of images.
const (
	inputParts   = "head_parts"   // (n,part) int64: the rows of each turn of the heads; every row once, the last again as filling
	inputGrid    = "head_grid"    // (2) int64: rows and columns of every image's units
	inputCentres = "cell_centres" // (units of an image,2) float32: column and row of each one's centre, in [-1,1]

	outputTokens   = "generated_ids" // (B,N) int64; after a row's end, its end token again
	outputHeatmaps = "heatmaps"      // (B,2,height,width) float32: misalignment and artifact; zero where missing
	outputFound    = "heatmap_found" // (B,2) bool: which of them are not missing

	outputFeatures = "image_features" // probes: (U,hidden)
	outputHidden   = "prompt_hidden"  // (B,hidden): last prompt token after the final norm
	outputLogits   = "prompt_logits"  // (B,vocabulary), before the penalty
)

// graphOptions choose between the forms of the evaluator's graph.
type graphOptions struct {
	qwenvl.Options
	heads  onnx.DType // of the heatmap heads
	probes bool       // with the intermediate results as outputs
}

// evaluatorGraph is the whole evaluator as one graph: images and prompt tokens
// in, generated tokens and heatmaps out.
type evaluatorGraph struct {
	*qwenvl.Graph
	heatmap *heatmap
}

// buildGraph writes the evaluator for the source's tensors. All tensors are
// checked; none is read.
func buildGraph(c Config, source initializers.Source, o graphOptions) (*onnx.Graph, error) {
	g := onnx.New("imagedoctor")
	set := initializers.New(g, source, "imagedoctor")
	o.Watched = []int32{c.MisalignmentTokenID, c.ArtifactTokenID}
	e := &evaluatorGraph{
		Graph:   qwenvl.NewGraph(g, set, c.Config, o.Options),
		heatmap: newHeatmap(g, set, c.HiddenSize, o.heads),
	}
	g.Output(outputTokens, e.Answer)
	g.Output(outputHeatmaps, e.maps())
	g.Output(outputFound, e.Found)
	if o.probes {
		g.Output(outputFeatures, g.Cast(e.Features, onnx.Float32))
		g.Output(outputHidden, g.Cast(e.Hidden, onnx.Float32))
		g.Output(outputLogits, e.Logits())
	}
	if err := e.Err(); err != nil {
		return nil, err
	}
	return g, nil
}

// maps runs the heatmap heads over some images at a time: at full size their
// activations outweigh everything else. It returns (B,kinds,height,width), zero where
// no state was found.
func (e *evaluatorGraph) maps() onnx.Value {
	g := e.ONNX
	turns, part := onnx.Sym("head_turns"), onnx.Sym("head_part")
	parts := g.Input(inputParts, onnx.Int64, onnx.Shape{turns, part})
	grid := g.Input(inputGrid, onnx.Int64, onnx.Dims(2))
	h, width := e.heatmap, e.Features.Dim(1)
	deep, _ := width.Fixed()
	sizes := g.Concat(0, onnx.Dim{}, onnx.Const(g, []int64{-1}, 1), grid, onnx.Const(g, []int64{deep}, 1))
	features := g.ReshapeLike(e.Features, sizes, e.Batch, h.rows, h.cols, width)
	limit := g.Squeeze(g.SizeOf(parts, 0), 0)
	out := g.Loop(limit, onnx.Scalar(g, true), nil, nil, turns,
		func(b *onnx.Graph, turn onnx.Value, _ []onnx.Value) (again onnx.Value, next, collected []onnx.Value) {
			rows := b.Gather(parts, turn, 0)
			maps := h.maps(b, b.Gather(features, rows, 0), b.Gather(e.States, rows, 0))
			shown := b.Cast(b.Gather(e.Found, rows, 0), onnx.Float32)
			return onnx.Scalar(b, true), nil, []onnx.Value{b.Mul(maps, b.Unsqueeze(shown, 2, 3))}
		})[0]
	shape := g.Concat(0, onnx.Dim{}, onnx.Const(g, []int64{-1, kinds}, 2), g.SizeOf(out, 3), g.SizeOf(out, 4))
	flat := g.ReshapeLike(out, shape, turns.Times(part), onnx.N(kinds), out.Dim(3), out.Dim(4))
	return g.SliceTo(flat, 0, onnx.Const(g, []int64{0}, 1), g.SizeOf(e.In(qwenvl.InputLengths), 0), e.Batch)
}

// maxHeadPart is how many images go through the heatmap heads at once. At full
// size one takes some 130 MB for each activation of the last stage.
const maxHeadPart = 8

// headParts deals rows out to equal turns of at most maxHeadPart.
func headParts(rows int) ort.Tensor {
	turns := (rows + maxHeadPart - 1) / maxHeadPart
	part := (rows + turns - 1) / turns
	index := make([]int64, turns*part)
	for i := range index {
		index[i] = int64(min(i, rows-1))
	}
	return ort.Int64s([]int64{int64(turns), int64(part)}, index)
}
