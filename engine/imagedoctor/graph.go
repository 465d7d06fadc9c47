package imagedoctor

import (
	"errors"
	"fmt"

	"github.com/denseflow/densereward/engine/initializers"
	"github.com/denseflow/densereward/engine/onnx"
)

// Names of the graph's inputs. B is the number of pictures, T the number of
// prompt tokens of all of them, standing behind each other.
const (
	inputPictures     = "pictures"       // (B,side,side,3) uint8: RGB, resized
	inputPatches      = "patches"        // (B,P,patch) float32, in the processor's order; probes only, instead of pictures
	inputTokens       = "token_ids"      // (T) int64
	inputRows         = "token_rows"     // (T) int64: the picture each token belongs to
	inputSlots        = "image_slots"    // (B*units) int64: places of the image tokens among the T
	inputLengths      = "lengths"        // (B) int64: tokens of each prompt
	inputLongest      = "longest"        // () int64: tokens of the longest prompt
	inputPad          = "pad_index"      // (B,S) int64: token at each place of the padded rows
	inputPack         = "pack_index"     // (T) int64: place of each token in the padded rows
	inputMaxNewTokens = "max_new_tokens" // () int64, at least 1
	inputParts        = "head_parts"     // (n,part) int64: the rows of each turn of the heads; every row once, the last again as filling
	inputPenalty      = "repetition_penalty"
	inputDraftState   = "draft_state" // () int64: where in its wording an answer begins
	inputForced       = "forced_ids"  // (B,n) int64, n at least 1
)

// Names of the graph's outputs.
const (
	outputTokens   = "generated_ids" // (B,N) int64; after a row's end, its end token again
	outputHeatmaps = "heatmaps"      // (B,2,side,side) float32: misalignment and artifact; zero where missing

	outputFeatures = "image_features" // probes: (B,units,hidden)
	outputHidden   = "prompt_hidden"  // (B,hidden): last prompt token after the final norm
	outputLogits   = "prompt_logits"  // (B,vocabulary), before the penalty
)

// graphOptions choose between the forms of the evaluator's graph.
type graphOptions struct {
	dtype   onnx.DType // of the vision tower and the language model
	heads   onnx.DType // of the heatmap heads
	penalty bool       // with repetition_penalty as an input
	forced  bool       // with forced_ids as an input, which replace what is predicted (to measure)
	paged   bool       // with a cache of pages (CUDA)
	probes  bool       // with the intermediate results as outputs
	patches bool       // with the processor's patches as input, not pictures

	imageStart int // index of the first image token in every prompt

	draft *draft // guesses for steps of several tokens; nil for steps of one
}

// evaluatorGraph is the whole evaluator as one graph: patches and prompt tokens
// in, generated tokens and heatmaps out.
type evaluatorGraph struct {
	g        *onnx.Graph
	c        Config
	o        graphOptions
	w        *weights
	vision   *vision
	language *language
	heatmap  *heatmap

	cache    cache
	rotation rotation

	batch, tokens, longest onnx.Dim
	in                     map[string]onnx.Value
}

// buildGraph writes the evaluator for the source's tensors. All tensors are
// checked; none is read.
func buildGraph(c Config, source initializers.Source, o graphOptions) (*onnx.Graph, error) {
	g := onnx.New("imagedoctor")
	w := newWeights(g, source)
	grid := c.patchGrid()
	e := &evaluatorGraph{
		g: g, c: c, o: o, w: w,
		vision:   newVision(w, c.Vision, grid, o.dtype),
		language: &language{w: w, c: c, dtype: o.dtype},
		heatmap:  newHeatmap(w, c.HiddenSize, grid/c.Vision.SpatialMergeSize, o.heads),
		batch:    onnx.Sym("batch"), tokens: onnx.Sym("tokens"), longest: onnx.Sym("longest"),
		in: map[string]onnx.Value{},
	}
	e.cache = &paddedCache{e: e}
	if o.paged {
		e.cache = &pagedCache{e: e}
	}
	e.inputs()
	e.outputs()
	e.surplus()
	if err := errors.Join(w.Err(), g.Err()); err != nil {
		return nil, err
	}
	return g, nil
}

func (e *evaluatorGraph) inputs() {
	units := int64(e.c.imageTokens())
	c := e.c.Vision
	patches := int64(e.c.patchGrid() * e.c.patchGrid())
	patch := int64(c.InChannels * c.TemporalPatchSize * c.PatchSize * c.PatchSize)
	add := func(name string, dtype onnx.DType, dims ...onnx.Dim) { e.in[name] = e.g.Input(name, dtype, dims) }
	if side := onnx.N(int64(e.c.ImageSide())); e.o.patches {
		add(inputPatches, onnx.Float32, e.batch, onnx.N(patches), onnx.N(patch))
	} else {
		add(inputPictures, onnx.Uint8, e.batch, side, side, onnx.N(int64(c.InChannels)))
	}
	add(inputTokens, onnx.Int64, e.tokens)
	add(inputSlots, onnx.Int64, e.batch.Times(onnx.N(units)))
	add(inputLengths, onnx.Int64, e.batch)
	add(inputLongest, onnx.Int64)
	if !e.o.paged {
		add(inputPad, onnx.Int64, e.batch, e.longest)
		add(inputPack, onnx.Int64, e.tokens)
	}
	add(inputMaxNewTokens, onnx.Int64)
	add(inputParts, onnx.Int64, onnx.Sym("head_turns"), onnx.Sym("head_part"))
	if e.o.draft != nil {
		add(inputDraftState, onnx.Int64)
	}
	if e.o.forced {
		add(inputForced, onnx.Int64, e.batch, onnx.Sym("forced"))
	}
	if e.o.penalty {
		add(inputRows, onnx.Int64, e.tokens)
		add(inputPenalty, onnx.Float32)
	}
}

func (e *evaluatorGraph) outputs() {
	g := e.g
	patches := e.in[inputPatches]
	if !e.o.patches {
		patches = e.vision.patchify(g, e.in[inputPictures], e.c.Preprocessor)
	}
	features := e.vision.features(g, patches)
	hidden := e.prompt(features)
	tokens, selected, found := (&generation{e}).run(hidden)
	g.Output(outputTokens, tokens)
	g.Output(outputHeatmaps, e.maps(features, selected, found))
	if e.o.probes {
		g.Output(outputFeatures, g.Cast(features, onnx.Float32))
		g.Output(outputHidden, g.Cast(hidden, onnx.Float32))
		g.Output(outputLogits, e.language.head(g, hidden))
	}
}

// surplus finds blocks that the checkpoint has beyond the configuration's. Where a
// configuration is silent and its default falls short, nothing else would tell.
func (e *evaluatorGraph) surplus() {
	for _, name := range []string{
		fmt.Sprintf("visual.blocks.%d.norm1.weight", e.c.Vision.Depth),
		fmt.Sprintf("model.layers.%d.input_layernorm.weight", e.c.NumLayers),
	} {
		if _, ok := e.w.Lookup(name); ok {
			e.w.Fault(onnx.Float32, []int64{1}, "tensor %s is of a block that the configuration does not have", name)
		}
	}
}

// maps runs the heatmap heads over some pictures at a time: at full size their
// activations outweigh everything else. It returns (B,kinds,side,side), zero where
// no state was found.
func (e *evaluatorGraph) maps(features, selected, found onnx.Value) onnx.Value {
	g := e.g
	turns, part := onnx.Sym("head_turns"), onnx.Sym("head_part")
	limit := g.Squeeze(g.SizeOf(e.in[inputParts], 0), 0)
	out := g.Loop(limit, onnx.Scalar(g, true), nil, nil, turns,
		func(b *onnx.Graph, turn onnx.Value, _ []onnx.Value) (again onnx.Value, next, collected []onnx.Value) {
			rows := b.Gather(e.in[inputParts], turn, 0)
			maps := e.heatmap.maps(b, b.Gather(features, rows, 0), b.Gather(selected, rows, 0))
			shown := b.Cast(b.Gather(found, rows, 0), onnx.Float32)
			return onnx.Scalar(b, true), nil, []onnx.Value{b.Mul(maps, b.Unsqueeze(shown, 2, 3))}
		})[0]
	side := out.Dim(3)
	flat := g.Reshape(out, turns.Times(part), onnx.N(kinds), side, side)
	return g.SliceTo(flat, 0, onnx.Const(g, []int64{0}, 1), g.SizeOf(e.in[inputLengths], 0), e.batch)
}

// prompt runs the prompts through the language model: the hidden state (B,hidden)
// of each one's last token after the final norm.
func (e *evaluatorGraph) prompt(features onnx.Value) (hidden onnx.Value) {
	g, c := e.g, e.c
	g.Scope("prompt", func() {
		width := onnx.N(int64(c.HiddenSize))
		x := g.Gather(e.language.embedding(), e.in[inputTokens], 0)
		slots := g.Reshape(e.in[inputSlots], e.in[inputSlots].Dim(0), onnx.N(1))
		x = g.ScatterND(x, slots, g.Reshape(features, e.in[inputSlots].Dim(0), width))

		// A last step may guess beyond the limit.
		rows := g.Add(e.in[inputLongest], g.Add(e.in[inputMaxNewTokens], onnx.Scalar(g, int64(e.windowSize()))))
		e.rotation = e.language.rotation(g, e.o.imageStart, rows)
		last := g.Sub(g.CumSum(e.in[inputLengths], 0, false), onnx.Scalar(g, int64(1)))
		sum, branch := e.cache.prompt(g, func(a attention) (sum, branch onnx.Value) {
			return e.language.layers(g, x, a, last)
		})
		hidden = e.language.final(g, sum, branch)
	})
	return hidden
}
