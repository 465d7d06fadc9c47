package imagedoctor

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/denseflow/densereward/engine/image/resize"
	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/qwenvl"
	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
	"github.com/denseflow/densereward/engine/qwenvl/draft"
	"github.com/denseflow/densereward/engine/tokenizer"
	"github.com/denseflow/densereward/reward"
)

// Options are the settings of an Evaluator. The zero value runs the checkpoint
// as its files say, on the CPU with all cores.
type Options struct {
	Provider ort.Provider
	Threads  int // 0 is one per core
	// Float32 computes in float32 on a GPU as well, where bfloat16 is many times
	// faster: to compare. A CPU always does.
	Float32 bool

	// Prefix is what an answer is given to begin with in ModeAnswer; nil is the
	// published text, "" gives nothing.
	Prefix *string
	// RepetitionPenalty replaces the one of generation_config.json; 0 leaves it.
	RepetitionPenalty float64
	// MaxNewTokens bounds the generated tokens; 0 is DefaultMaxNewTokens of the
	// mode. An answer that reaches it is its sample's reward.ErrAnswerTruncated.
	MaxNewTokens int
	// PromptTokens bounds the tokens of a sample's prompt, without what is built
	// around it; 0 is DefaultPromptTokens. A longer one is its sample's
	// reward.ErrInvalidValue.
	PromptTokens int
	// Resize says how images come to the model's size; "" is ResizeSquare.
	Resize Resize
	// NoSpeculative decodes a token a step, without draft tokens. The answers are
	// the same.
	NoSpeculative bool
	// FixedDraft drafts by the published wordings alone, not by earlier answers. How long
	// drafts are moves the last bits of maps, which then depend on a batch alone.
	FixedDraft bool
	// Operators are this project's own that a bfloat16 graph on a GPU has in place of
	// several plain nodes each. nil is all of them, or plain nodes where the driver takes
	// none; those that are asked for must load.
	Operators *onnx.Operators
	// FP8 has the vision tower and the language model multiply in eight bits (e4m3), with a
	// scale for each token and each channel: faster on GPUs that can, and answers are
	// others. Elsewhere plain nodes round the same way, which is slow: to judge the answers.
	FP8 bool
	// MaxBatch is how many images go through the graph at once; 0 is 16.
	MaxBatch int
	// BatchTokens bounds what is padded to the longest prompt of a batch, image,
	// task and prefix included; 0 is 1,024 for each image of a full batch. A sample
	// of more is a batch by itself.
	BatchTokens int

	// Demonstration marks weights that are not fit for training, which
	// Describe passes on.
	Demonstration bool
	// Note is what people should know of the weights, which Describe passes on.
	Note string
}

// Defaults of Options.
const (
	DefaultPromptTokens = 1024

	defaultMaxBatch    = 16
	defaultBatchTokens = 1024 // for each image of a batch
)

// DefaultMaxNewTokens bounds an answer in a mode: the answer template takes some
// 60 tokens, reasoning several hundred, and both may go on for longer.
func DefaultMaxNewTokens(m reward.Mode) int {
	if m == reward.ModeThink {
		return 4096
	}
	return 2048
}

// Evaluator is ImageDoctor on ONNX Runtime. It is safe for concurrent use.
type Evaluator struct {
	config      Config
	options     Options
	checkpoint  *checkpoint.Folder
	tokenizer   *tokenizer.Tokenizer
	session     *qwenvl.Session
	resizer     resize.Resizer
	fingerprint string
	drafts      map[reward.Mode]*draft.Learner // nil where a step is one token
	grid        checkpoint.Grid                // of every image; zero where they differ

	operators        onnx.Operators // that the graph has on a GPU
	withoutOperators error          // why none, though they could be
}

var (
	_ reward.Evaluator    = (*Evaluator)(nil)
	_ reward.Preparer     = (*Evaluator)(nil)
	_ reward.TokenCounter = (*Evaluator)(nil)
)

// Load opens the checkpoint folder dir: config.json, *.safetensors,
// tokenizer.json and, where they are, preprocessor_config.json and
// generation_config.json. Every tensor's presence and shape is checked before
// any is read; the error names those that are missing or misshaped. The
// evaluator must be closed.
func Load(runtime *ort.Runtime, dir string, o Options) (*Evaluator, error) {
	e, err := open(dir, o)
	if err != nil {
		return nil, fmt.Errorf("imagedoctor: %w", err)
	}
	if e.half() {
		e.operators, e.withoutOperators = qwenvl.UsableOperators(runtime, o.Provider, o.Operators)
	}
	graph, err := buildGraph(e.config, e.checkpoint.Weights, e.form())
	if err != nil {
		return nil, err
	}
	if e.fingerprint, err = e.checkpoint.Fingerprint(e.answering()); err != nil {
		return nil, fmt.Errorf("imagedoctor: %w", err)
	}
	if e.session, err = e.load(runtime, graph); err != nil {
		return nil, fmt.Errorf("imagedoctor: %w", err)
	}
	return e, nil
}

// open is what o makes of the checkpoint folder dir, without a session.
func open(dir string, o Options) (*Evaluator, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	f, err := checkpoint.Open(dir)
	if err != nil {
		return nil, err
	}
	c, err := withHeatmapTokens(dir, f.Config)
	if err != nil {
		return nil, err
	}
	if err := c.CheckTokens(f.Tokenizer); err != nil {
		return nil, err
	}
	o.complete(c)
	e := &Evaluator{config: c, options: o, checkpoint: f, tokenizer: f.Tokenizer}
	if side := c.UnitGrid(); o.Resize == ResizeSquare {
		e.grid = checkpoint.Grid{Rows: side, Cols: side}
	}
	if o.Operators != nil && e.half() {
		e.operators = *o.Operators
	}
	if !o.NoSpeculative {
		e.drafts = map[reward.Mode]*draft.Learner{}
		for _, mode := range []reward.Mode{reward.ModeAnswer, reward.ModeThink} {
			e.drafts[mode] = draft.New(f.Tokenizer, f.Vocabulary(), publishedAnswers(c, f.Tokenizer)...)
			if o.FixedDraft {
				e.drafts[mode].Fix()
			}
		}
	}
	return e, nil
}

// answering tells the options on which answers depend.
func (e *Evaluator) answering() string {
	o := e.options
	text := fmt.Sprintf("%v %v %v %v %v\n", o.RepetitionPenalty, o.MaxNewTokens, o.Provider.Kind, o.Float32, o.Resize)
	if e.operators != 0 { // whose sums are rounded elsewhere
		text += fmt.Sprintf("operators %v\n", e.operators)
	}
	if o.FP8 {
		text += "fp8\n"
	}
	if o.Prefix != nil {
		text += fmt.Sprintf("prefix %q\n", *o.Prefix)
	}
	return text
}

func (o Options) check() error {
	// NaN fails the first comparison.
	if !(o.RepetitionPenalty >= 0) || math.IsInf(o.RepetitionPenalty, 1) {
		return fmt.Errorf("options: repetition penalty %v is not a number from 0 on", o.RepetitionPenalty)
	}
	if o.MaxNewTokens < 0 || o.MaxBatch < 0 || o.Threads < 0 || o.PromptTokens < 0 || o.BatchTokens < 0 {
		return fmt.Errorf("options: new tokens %d, batch %d, threads %d, prompt tokens %d and batch tokens %d must not be negative",
			o.MaxNewTokens, o.MaxBatch, o.Threads, o.PromptTokens, o.BatchTokens)
	}
	return o.Resize.check()
}

// complete fills in the defaults.
func (o *Options) complete(c Config) {
	o.RepetitionPenalty = cmp.Or(o.RepetitionPenalty, c.RepetitionPenalty)
	o.MaxBatch = cmp.Or(o.MaxBatch, defaultMaxBatch)
	o.PromptTokens = cmp.Or(o.PromptTokens, DefaultPromptTokens)
	o.BatchTokens = cmp.Or(o.BatchTokens, defaultBatchTokens*o.MaxBatch)
	o.Resize = cmp.Or(o.Resize, ResizeSquare)
}

// form is the graph that the options ask for. A GPU has the language model and
// the vision tower in bfloat16 and the heatmap heads, whose convolutions know no
// bfloat16, in float16.
func (e *Evaluator) form() graphOptions {
	o := graphOptions{
		Options: qwenvl.Options{
			DType: onnx.Float32, Penalty: e.options.RepetitionPenalty != 1, Drafted: e.drafts != nil, Grid: e.grid,
		},
		heads: onnx.Float32,
	}
	if e.half() {
		o.DType, o.heads, o.Paged, o.Operators = onnx.BFloat16, onnx.Float16, true, e.operators
	}
	if e.options.FP8 {
		o.Operators |= onnx.FP8
		if !e.half() {
			o.Operators |= onnx.WrittenOut
		}
	}
	return o
}

// half reports whether the graph computes in half precision.
func (e *Evaluator) half() bool { return e.options.Provider.Kind == ort.CUDA && !e.options.Float32 }

// Operators are the custom operators of the evaluator's graph. Where none could be
// loaded, plain nodes stand in their place, and without says why.
func (e *Evaluator) Operators() (in onnx.Operators, without error) {
	return e.operators, e.withoutOperators
}

func (e *Evaluator) load(runtime *ort.Runtime, graph *onnx.Graph) (*qwenvl.Session, error) {
	return qwenvl.OpenSession(runtime, graph, e.checkpoint.Weights, ort.SessionOptions{
		Provider: qwenvl.Provider(e.options.Provider, e.form().DType), Threads: e.options.Threads,
	})
}

// Close frees the session. The evaluator must not be used afterwards.
func (e *Evaluator) Close() error { return e.session.Close() }

// Describe tells the checkpoint's fingerprint, which covers weights,
// configuration, tokenizer and the options that change answers.
func (e *Evaluator) Describe() reward.Description {
	side := e.config.UnitGrid() * heatmapUpscale
	if e.options.Resize == ResizeArea {
		side = 0
	}
	return reward.Description{
		Name:          "imagedoctor",
		Kind:          "imagedoctor",
		Fingerprint:   e.fingerprint,
		Modes:         []reward.Mode{reward.ModeAnswer, reward.ModeThink},
		Scores:        scoreSpecs(),
		Maps:          mapSpecs(side),
		Text:          true,
		Boxes:         true,
		PromptTokens:  e.options.PromptTokens,
		Resize:        string(e.options.Resize),
		Demonstration: e.options.Demonstration,
		Note:          e.options.Note,
	}
}

// Evaluate scores the samples in batches of one mode and one size of images, of
// MaxBatch samples and BatchTokens tokens at most. A sample that cannot be used has
// its error in its result.
func (e *Evaluator) Evaluate(ctx context.Context, samples []reward.Sample) ([]reward.Result, error) {
	results := make([]reward.Result, len(samples))
	ready := make([]*prepared, len(samples))
	kinds := map[batchKind][]int{}
	var order []batchKind
	samples = slices.Clone(samples)
	errs := reward.PrepareAll(ctx, e, samples)
	for i, s := range samples {
		if err := errs[i]; err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			results[i].Err = err
			continue
		}
		ready[i] = s.Prepared.(*prepared)
		kind := batchKind{ready[i].mode, e.config.Grid(ready[i].Images[0])}
		if kinds[kind] == nil {
			order = append(order, kind)
		}
		kinds[kind] = append(kinds[kind], i)
	}
	for _, kind := range order {
		of := kinds[kind]
		lengths := make([]int, len(of))
		for n, i := range of {
			lengths[n] = len(ready[i].IDs)
		}
		for _, part := range qwenvl.Parts(lengths, e.options.MaxBatch, e.options.BatchTokens) {
			if err := e.evaluate(ctx, kind.mode, ready, results, of[part.From:part.To]); err != nil {
				return nil, err
			}
		}
	}
	return results, nil
}

// batchKind is what the samples of a batch have in common.
type batchKind struct {
	mode reward.Mode
	grid checkpoint.Grid
}

// evaluate runs the samples with the numbers part as one batch.
func (e *Evaluator) evaluate(ctx context.Context, mode reward.Mode, ready []*prepared, results []reward.Result, part []int) error {
	rows := make([]*prepared, len(part))
	for r, i := range part {
		rows[r] = ready[i]
	}
	out, err := e.session.Run(ctx, e.inputs(e.joined(mode, rows)))
	if err != nil {
		return fmt.Errorf("imagedoctor: %d images: %w", len(rows), err)
	}
	for r, i := range part {
		results[i] = e.result(rows[r], out, r)
		if err := e.truncated(mode, results[i].Trace.GeneratedIDs); err != nil {
			results[i] = reward.Result{Err: err}
			continue
		}
		e.learn(mode, rows[r].prefix, results[i].Trace.GeneratedIDs)
	}
	return nil
}

// truncated is the error of an answer that reached its limit without an end.
func (e *Evaluator) truncated(mode reward.Mode, ids []int32) error {
	if limit := e.maxNewTokens(mode); len(ids) >= limit && !e.config.IsEOS(ids[len(ids)-1]) {
		return reward.ErrAnswerTruncated.With("the answer has no end within %d tokens", limit)
	}
	return nil
}

// maxNewTokens is the most tokens of an answer in a mode.
func (e *Evaluator) maxNewTokens(mode reward.Mode) int {
	return cmp.Or(e.options.MaxNewTokens, DefaultMaxNewTokens(mode))
}
