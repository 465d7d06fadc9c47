package imagedoctor

import (
	"fmt"

	"github.com/denseflow/densereward/engine/initializers"
	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/qwenvl"
	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
	"github.com/denseflow/densereward/engine/qwenvl/draft"
	"github.com/denseflow/densereward/reward"
)

// Workbench is what Load puts together, in parts and without a session: for whoever
// measures them.
type Workbench struct{ e *Evaluator }

// The heads of a Workbench.
const (
	Maps     = kinds          // of an image
	HeadPart = maxHeadPart    // images that go through the heads at once
	MapScale = heatmapUpscale // cells of a map for each unit of an image, a side
)

// OpenWorkbench opens the checkpoint folder dir: see Load.
func OpenWorkbench(dir string, o Options) (*Workbench, error) {
	e, err := open(dir, o)
	if err != nil {
		return nil, fmt.Errorf("imagedoctor: %w", err)
	}
	return &Workbench{e}, nil
}

// Config is the checkpoint's configuration.
func (w *Workbench) Config() Config { return w.e.config }

// Checkpoint is the checkpoint, with its weights and tokenizer.
func (w *Workbench) Checkpoint() *checkpoint.Folder { return w.e.checkpoint }

// Draft is what answers are drafted from at first; nil where a step is one token.
func (w *Workbench) Draft() *draft.Machine {
	learner := w.e.drafts[reward.ModeAnswer]
	if learner == nil {
		return nil
	}
	return learner.Machine()
}

// Template is the published form of an answer.
func (w *Workbench) Template() AnswerTemplate {
	spelt := func(id int32) string { return w.e.tokenizer.Decode([]int32{id}, false) }
	return AnswerTemplate{answerPrefix, answerText(spelt(w.e.config.MisalignmentTokenID), spelt(w.e.config.ArtifactTokenID)), number}
}

// ImageStart is the index of the first image token in every prompt.
func (w *Workbench) ImageStart() int { return len(w.e.tokenizer.Encode(promptHead)) + 1 }

// DTypes are the types of the model's activations and of the heads'.
func (w *Workbench) DTypes() (model, heads onnx.DType) {
	o := w.e.form()
	return o.DType, o.heads
}

// Operators are those of the evaluator's graph.
func (w *Workbench) Operators() onnx.Operators { return w.e.form().Operators }

// Graph is the evaluator's, with answers that are teacher-forced: every step runs in
// full, and only its outcome is replaced.
func (w *Workbench) Graph() (*onnx.Graph, error) {
	o := w.e.form()
	o.TeacherForced = true
	return buildGraph(w.e.config, w.e.checkpoint.Weights, o)
}

// Heads writes the heatmap heads alone into g: of features (B,units,width) of images
// with the given grid and states (B,Maps,width), the maps (B,Maps,height,width). It
// returns the inputs that it adds.
func (w *Workbench) Heads(g *onnx.Graph, set *initializers.Set, grid checkpoint.Grid, features, states onnx.Value) (maps onnx.Value, inputs map[string]ort.Tensor) {
	_, dtype := w.DTypes()
	g.Use(w.Operators())
	h := newHeatmap(g, set, w.e.config.HiddenSize, dtype)
	width := features.Dim(2)
	deep, _ := width.Fixed()
	sizes := onnx.Const(g, []int64{-1, int64(grid.Rows), int64(grid.Cols), deep}, 4)
	features = g.ReshapeLike(features, sizes, features.Dim(0), h.rows, h.cols, width)
	return h.maps(g, features, states), map[string]ort.Tensor{inputCentres: cellCentres(grid)}
}

// Resized is an image as the model sees it.
func (w *Workbench) Resized(image *reward.Image) (*reward.Image, error) { return w.e.resized(image) }

// Inputs are those of Graph for prompts with answers (B,n) int64, of which at most
// newTokens are taken.
func (w *Workbench) Inputs(prompts []qwenvl.Prompt, answers ort.Tensor, newTokens int) map[string]ort.Tensor {
	ready := make([]*prepared, len(prompts))
	for i, p := range prompts {
		ready[i] = &prepared{Prompt: p, mode: reward.ModeAnswer}
	}
	b := w.e.joined(reward.ModeAnswer, ready)
	b.TeacherForced, b.MaxNewTokens = answers, newTokens
	return w.e.inputs(b)
}

// Result reads row r of Graph's outputs.
func (w *Workbench) Result(p qwenvl.Prompt, out map[string]ort.Tensor, r int) reward.Result {
	return w.e.result(&prepared{Prompt: p, mode: reward.ModeAnswer, prefix: w.e.prefix(reward.ModeAnswer)}, out, r)
}
