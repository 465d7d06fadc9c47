package imagedoctor

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/denseflow/densereward/engine/image/resize"
	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/qwenvl"
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
	// mode. An answer that reaches it has what was generated until then.
	MaxNewTokens int
	// NoSpeculative decodes a token a step, without draft tokens. The answers are
	// the same.
	NoSpeculative bool
	// MaxBatch is how many images go through the graph at once; 0 is 16.
	MaxBatch int

	// Demonstration marks weights that are not fit for training, which
	// Describe passes on.
	Demonstration bool
}

const defaultMaxBatch = 16

// DefaultMaxNewTokens bounds an answer in a mode: the fixed wording takes some
// 60 tokens, reasoning several hundred.
func DefaultMaxNewTokens(m reward.Mode) int {
	if m == reward.ModeThink {
		return 2048
	}
	return 256
}

// Evaluator is ImageDoctor on ONNX Runtime. It is safe for concurrent use.
type Evaluator struct {
	config      Config
	options     Options
	checkpoint  *qwenvl.Checkpoint
	tokenizer   *tokenizer.Tokenizer
	session     *qwenvl.Session
	resizer     resize.Resizer
	fingerprint string
	imageStart  int           // index of the first image token in every prompt
	draft       *qwenvl.Draft // nil where a step is one token
}

var (
	_ reward.Evaluator = (*Evaluator)(nil)
	_ reward.Preparer  = (*Evaluator)(nil)
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
	graph, err := buildGraph(e.config, e.checkpoint.Weights, e.form())
	if err != nil {
		return nil, err
	}
	if e.fingerprint, err = e.checkpoint.Fingerprint(e.options.fingerprint()); err != nil {
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
	f, err := qwenvl.OpenCheckpoint(dir)
	if err != nil {
		return nil, err
	}
	c, err := withHeatmapTokens(dir, f.Config)
	if err != nil {
		return nil, err
	}
	if err := c.CheckTokens(f.Tokenizer.TokenID); err != nil {
		return nil, err
	}
	if o.RepetitionPenalty == 0 {
		o.RepetitionPenalty = c.RepetitionPenalty
	}
	if o.MaxBatch == 0 {
		o.MaxBatch = defaultMaxBatch
	}
	e := &Evaluator{config: c, options: o, checkpoint: f, tokenizer: f.Tokenizer, imageStart: len(f.Tokenizer.Encode(promptHead))}
	if !o.NoSpeculative {
		e.draft = qwenvl.NewDraft(f.Tokenizer, f.Vocabulary(), answerTemplate)
	}
	return e, nil
}

// fingerprint tells the options on which answers depend.
func (o Options) fingerprint() string {
	text := fmt.Sprintf("%v %v %v %v\n", o.RepetitionPenalty, o.MaxNewTokens, o.Provider.Kind, o.Float32)
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
	if o.MaxNewTokens < 0 || o.MaxBatch < 0 || o.Threads < 0 {
		return fmt.Errorf("options: new tokens %d, batch %d and threads %d must not be negative",
			o.MaxNewTokens, o.MaxBatch, o.Threads)
	}
	return nil
}

// form is the graph that the options ask for. A GPU has the language model and
// the vision tower in bfloat16 and the heatmap heads, whose convolutions know no
// bfloat16, in float16.
func (e *Evaluator) form() graphOptions {
	o := graphOptions{
		Options: qwenvl.Options{
			DType: onnx.Float32, Penalty: e.options.RepetitionPenalty != 1, Draft: e.draft,
		},
		heads: onnx.Float32,
	}
	if e.options.Provider.Kind == ort.CUDA && !e.options.Float32 {
		o.DType, o.heads, o.Paged = onnx.BFloat16, onnx.Float16, true
	}
	return o
}

// load opens a session of a graph.
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
	return reward.Description{
		Name:          "imagedoctor",
		Kind:          "imagedoctor",
		Fingerprint:   e.fingerprint,
		Modes:         []reward.Mode{reward.ModeAnswer, reward.ModeThink},
		Scores:        scoreSpecs(),
		Maps:          mapSpecs(side),
		Text:          true,
		Boxes:         true,
		PromptTokens:  maxPromptTokens,
		Demonstration: e.options.Demonstration,
	}
}

// Evaluate scores the samples, MaxBatch at a time. A sample whose prompt cannot
// be used has its error in its result.
func (e *Evaluator) Evaluate(ctx context.Context, samples []reward.Sample) ([]reward.Result, error) {
	results := make([]reward.Result, len(samples))
	byMode := map[reward.Mode][]int{}
	for i, s := range samples {
		mode := modeOr(s.Mode)
		if !mode.Valid() {
			results[i].Err = fmt.Errorf("imagedoctor: mode %q is not known", mode)
			continue
		}
		byMode[mode] = append(byMode[mode], i)
	}
	for _, mode := range []reward.Mode{reward.ModeAnswer, reward.ModeThink} {
		for part := range slices.Chunk(byMode[mode], e.options.MaxBatch) {
			if err := e.evaluate(ctx, mode, samples, results, part); err != nil {
				return nil, err
			}
		}
	}
	return results, nil
}

// evaluate runs the samples with the numbers part as one batch.
func (e *Evaluator) evaluate(ctx context.Context, mode reward.Mode, samples []reward.Sample, results []reward.Result, part []int) error {
	var rows []int
	var ready []*prepared
	for _, i := range part {
		s := samples[i]
		if err := e.Prepare(ctx, &s); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			results[i].Err = err
			continue
		}
		rows, ready = append(rows, i), append(ready, s.Prepared.(*prepared))
	}
	if len(rows) == 0 {
		return nil
	}
	out, err := e.session.Run(ctx, e.batch(mode, ready))
	if err != nil {
		return fmt.Errorf("imagedoctor: %d images: %w", len(rows), err)
	}
	for r, i := range rows {
		results[i] = e.result(mode, ready[r], out, r)
	}
	return nil
}
