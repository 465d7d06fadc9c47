package qwenvl

import (
	"errors"
	"fmt"

	"github.com/denseflow/densereward/engine/initializers"
	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
	"github.com/denseflow/densereward/engine/qwenvl/draft"
)

// Names of the graph's inputs. B is the number of prompts, T the number of tokens of
// all of them and P of all their images' patches, standing behind each other.
const (
	InputPixels         = "pixels"          // (P,size*size*3) uint8: RGB, in window order
	InputPatches        = "patches"         // (P,values) float32: normalised as the processor's; only with Options.Patches, instead of pixels
	InputPatchPositions = "patch_positions" // (P,2) int64: row and column in the image
	InputUnitOrder      = "unit_order"      // (U) int64: place in window order of each merged unit in raster order
	InputWindowRuns     = "window_runs"     // (n,3) int64: windows of one size: begin, end, patches of each
	InputImageRuns      = "image_runs"      // (n,3) int64: images of one size, in image order
	InputImageOrder     = "image_order"     // (P) int64: place in window order of each patch in image order
	InputWindowOrder    = "window_order"    // (P) int64: the other way round

	InputCorners       = "position_corners"        // (P,4) int64: learned positions around each patch; Qwen3-VL
	InputCornerWeights = "position_corner_weights" // (P,4) float32

	InputTokens       = "token_ids"       // (T) int64
	InputPositions    = "position_ids"    // (3,T) int64: temporal, row, column
	InputDeltas       = "position_deltas" // (B) int64: position less index of the tokens behind a prompt
	InputRows         = "token_rows"      // (T) int64: the prompt each token belongs to
	InputSlots        = "image_slots"     // (U) int64: places of the image tokens among the T
	InputLengths      = "lengths"         // (B) int64: tokens of each prompt
	InputLongest      = "longest"         // () int64: tokens of the longest prompt
	InputPad          = "pad_index"       // (B,S) int64: token at each place of the padded rows
	InputPack         = "pack_index"      // (T) int64: place of each token in the padded rows
	InputMaxNewTokens = "max_new_tokens"  // () int64, at least 1
	InputPenalty      = "repetition_penalty"
	InputDraftState   = "draft_state"    // () int64: of the draft before the answers
	InputDraftClasses = "draft_classes"  // (vocabulary) int32, and on: the tables of a draft.Machine
	InputDraftWidth   = "draft_width"    // () int64
	InputDraftNext    = "draft_next"     // (states*width) int32
	InputDraftTokens  = "draft_tokens"   // (states,draft.Longest) int64
	InputDraftLengths = "draft_lengths"  // (states) int64
	InputDraftAlong   = "draft_along"    // (states*(draft.Longest+1)) int32
	InputForced       = "teacher_forced" // (B,n) int64, n at least 1
)

// Options choose between the forms of the model's graph.
type Options struct {
	DType         onnx.DType      // of the vision tower and the language model
	Penalty       bool            // with repetition_penalty as an input
	TeacherForced bool            // with teacher_forced as an input, which replaces what is predicted (to measure)
	Paged         bool            // with a cache of pages (CUDA)
	Patches       bool            // with the processor's patches as input, not pixels
	Grid          checkpoint.Grid // of every image; zero is any, and images of a batch may differ

	// Operators are this project's own that the graph may have: see onnx.Graph.Use.
	Operators onnx.Operators

	// Watched are tokens of interest: for each, the hidden state that predicted
	// it first is kept.
	Watched []int32

	Drafted bool // with the tables of a draft as inputs, for steps of several tokens

	rooms []int64 // tokens of an answer that room is made for before it is needed, level by level; nil is the cache's own
}

// Graph is a model under construction as one ONNX graph: images and prompt tokens
// in, generated tokens out, with room for what a judge adds to it.
type Graph struct {
	ONNX    *onnx.Graph
	Weights *initializers.Set
	Batch   onnx.Dim // number of prompts

	Features onnx.Value // (U,hidden): the image tokens, image after image, in raster order
	Hidden   onnx.Value // (B,hidden): the last prompt token after the final norm
	Answer   onnx.Value // (B,N) int64: generated tokens; after a row's end, its end token again
	// States (B,watched,hidden) are the hidden states, after the final norm, that
	// predicted the watched tokens first, where Found (B,watched) bool says so.
	// The very first token of an answer does not count.
	States, Found onnx.Value

	c        checkpoint.Config
	o        Options
	vision   *Vision
	language *language
	logits   onnx.Value // as Logits, in the model's type

	deep  []onnx.Value // (U,hidden) each: what the first layers get of the images
	cache cache
	room  onnx.Value // () int64: tokens of an answer that the cache has room for at first

	tokens, longest onnx.Dim
	in              map[string]onnx.Value
}

// NewGraph writes the model for the tensors of set, which belongs to g, into g.
// What is wrong with tensors is in set.Err afterwards.
func NewGraph(g *onnx.Graph, set *initializers.Set, c checkpoint.Config, o Options) *Graph {
	e := &Graph{
		ONNX: g, Weights: set, Batch: onnx.Sym("batch"),
		c: c, o: o,
		vision:   NewVision(g, set, c, o),
		language: &language{w: set, c: c, dtype: o.DType},
		tokens:   onnx.Sym("tokens"), longest: onnx.Sym("longest"),
		in: map[string]onnx.Value{},
	}
	e.cache = &paddedCache{e: e}
	if o.Paged {
		e.cache = &pagedCache{e: e}
		if o.rooms == nil {
			e.o.rooms = roomTokens
		}
	}
	e.inputs()
	e.run()
	e.surplus()
	return e
}

// Err is what was wrong with tensors or graph, nil if nothing was.
func (e *Graph) Err() error { return errors.Join(e.Weights.Err(), e.ONNX.Err()) }

// Logits are those behind the prompt before the penalty, (B,vocabulary) float32.
func (e *Graph) Logits() onnx.Value { return e.ONNX.Cast(e.logits, onnx.Float32) }

// In is the graph's input of a name.
func (e *Graph) In(name string) onnx.Value { return e.in[name] }

func (e *Graph) inputs() {
	add := func(name string, dtype onnx.DType, dims ...onnx.Dim) { e.in[name] = e.ONNX.Input(name, dtype, dims) }
	add(InputTokens, onnx.Int64, e.tokens)
	add(InputPositions, onnx.Int64, onnx.N(3), e.tokens)
	add(InputDeltas, onnx.Int64, e.Batch)
	add(InputSlots, onnx.Int64, e.vision.units)
	add(InputLengths, onnx.Int64, e.Batch)
	add(InputLongest, onnx.Int64)
	if !e.o.Paged {
		add(InputPad, onnx.Int64, e.Batch, e.longest)
		add(InputPack, onnx.Int64, e.tokens)
	}
	add(InputMaxNewTokens, onnx.Int64)
	if e.o.Drafted {
		states := onnx.Sym("draft_states")
		add(InputDraftState, onnx.Int64)
		add(InputDraftClasses, onnx.Int32, onnx.Sym("draft_vocabulary"))
		add(InputDraftWidth, onnx.Int64)
		add(InputDraftNext, onnx.Int32, onnx.Sym("draft_transitions"))
		add(InputDraftTokens, onnx.Int64, states, onnx.N(draft.Longest))
		add(InputDraftLengths, onnx.Int64, states)
		add(InputDraftAlong, onnx.Int32, onnx.Sym("draft_ways"))
	}
	if e.o.TeacherForced {
		add(InputForced, onnx.Int64, e.Batch, onnx.Sym("forced"))
	}
	if e.o.Penalty {
		add(InputRows, onnx.Int64, e.tokens)
		add(InputPenalty, onnx.Float32)
	}
}

func (e *Graph) run() {
	g := e.ONNX
	e.Features, e.deep = e.vision.Features(g)
	e.prompt()
	e.logits = e.language.head(g, e.Hidden)
	e.Answer, e.States, e.Found = (&generation{Graph: e, room: e.room}).run()
}

// surplus finds blocks that the checkpoint has beyond the configuration's. Where a
// configuration is silent and its default falls short, nothing else would tell.
func (e *Graph) surplus() {
	for _, name := range []string{
		fmt.Sprintf("visual.blocks.%d.norm1.weight", e.c.Vision.Depth),
		fmt.Sprintf("model.layers.%d.input_layernorm.weight", e.c.NumLayers),
	} {
		if _, ok := e.Weights.Lookup(name); ok {
			e.Weights.Fault(onnx.Float32, []int64{1}, "tensor %s is of a block that the configuration does not have", name)
		}
	}
}

// prompt runs the prompts through the language model: the hidden state (B,hidden)
// of each one's last token after the final norm.
func (e *Graph) prompt() {
	g := e.ONNX
	g.Scope("prompt", func() {
		x := g.Gather(e.language.embedding(), e.in[InputTokens], 0)
		x = g.ScatterND(x, g.Unsqueeze(e.in[InputSlots], 1), e.Features)
		turn := e.language.promptRope(g, e.in[InputPositions])
		last := g.Sub(g.CumSum(e.in[InputLengths], 0, false), onnx.Scalar(g, int64(1)))
		sum, branch := e.cache.prompt(g, func(a attention) (sum, branch onnx.Value) {
			return e.language.layers(g, x, turn, a, images{e.in[InputSlots], e.deep}, last)
		})
		e.Hidden = e.language.final(g, sum, branch)
	})
}
