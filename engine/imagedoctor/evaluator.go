package imagedoctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/denseflow/densereward/engine/image/resize"
	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/safetensors"
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

	// Prefix is what an answer is forced to begin with in ModeAnswer; nil is
	// the published text, "" forces nothing.
	Prefix *string
	// RepetitionPenalty replaces the one of generation_config.json; 0 leaves it.
	RepetitionPenalty float64
	// MaxNewTokens bounds the generated tokens; 0 is DefaultMaxNewTokens of the
	// mode. An answer that reaches it has what was generated until then.
	MaxNewTokens int
	// OneByOne decodes a token a step, without guessing how an answer goes on.
	// The answers are the same.
	OneByOne bool
	// MaxBatch is how many pictures go through the graph at once; 0 is 16.
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
	tokenizer   *tokenizer.Tokenizer
	session     *ort.Session
	inputs      []string
	resizer     resize.Resizer
	fingerprint string
	imageStart  int    // index of the first image token in every prompt
	draft       *draft // nil where tokens are decoded one by one
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
	if err := o.check(); err != nil {
		return nil, err
	}
	f, err := openFolder(dir)
	if err != nil {
		return nil, err
	}
	if o.RepetitionPenalty == 0 {
		o.RepetitionPenalty = f.config.RepetitionPenalty
	}
	if o.MaxBatch == 0 {
		o.MaxBatch = defaultMaxBatch
	}
	e := f.evaluator(o)
	graph, err := buildGraph(f.config, f.checkpoint, e.form())
	if err != nil {
		return nil, err
	}
	if e.fingerprint, err = f.fingerprint(o); err != nil {
		return nil, err
	}
	if err := e.open(runtime, f.checkpoint, graph); err != nil {
		return nil, err
	}
	return e, nil
}

func (o Options) check() error {
	// NaN fails the first comparison.
	if !(o.RepetitionPenalty >= 0) || math.IsInf(o.RepetitionPenalty, 1) {
		return fmt.Errorf("imagedoctor: options: repetition penalty %v is not a number from 0 on", o.RepetitionPenalty)
	}
	if o.MaxNewTokens < 0 || o.MaxBatch < 0 || o.Threads < 0 {
		return fmt.Errorf("imagedoctor: options: new tokens %d, batch %d and threads %d must not be negative",
			o.MaxNewTokens, o.MaxBatch, o.Threads)
	}
	return nil
}

// form is the graph that the options ask for. A GPU has the language model and
// the vision tower in bfloat16 and the heatmap heads, whose convolutions know no
// bfloat16, in float16.
func (e *Evaluator) form() graphOptions {
	o := graphOptions{
		dtype: onnx.Float32, heads: onnx.Float32,
		penalty: e.options.RepetitionPenalty != 1, imageStart: e.imageStart, draft: e.draft,
	}
	if e.options.Provider.Kind == ort.CUDA && !e.options.Float32 {
		o.dtype, o.heads, o.paged = onnx.BFloat16, onnx.Float16, true
	}
	return o
}

// provider is p with what the form of the graph needs: convolutions with channels
// last for half precision, and no TensorFloat-32 for what is to be exact.
func (o graphOptions) provider(p ort.Provider) ort.Provider {
	if p.Kind != ort.CUDA {
		return p
	}
	options := map[string]string{"prefer_nhwc": "1"}
	if o.dtype == onnx.Float32 {
		options = map[string]string{"use_tf32": "0"}
	}
	maps.Copy(options, p.Options)
	p.Options = options
	return p
}

func (e *Evaluator) open(runtime *ort.Runtime, checkpoint *safetensors.Checkpoint, graph *onnx.Graph) error {
	model, err := graph.Marshal()
	if err != nil {
		return err
	}
	dir, err := checkpoint.Folder()
	if err != nil {
		return fmt.Errorf("imagedoctor: %w", err)
	}
	e.inputs = graph.InputNames()
	e.session, err = runtime.NewSession(model, e.inputs, graph.OutputNames(), ort.SessionOptions{
		Provider: e.form().provider(e.options.Provider), Threads: e.options.Threads, InitializersDir: dir,
	})
	if err != nil {
		return fmt.Errorf("imagedoctor: loading the graph: %w", memoryError(err))
	}
	return nil
}

// memoryError marks the want of memory as the scheduler knows it, which then
// tries smaller batches.
func memoryError(err error) error {
	if errors.Is(err, ort.ErrOutOfMemory) {
		return fmt.Errorf("%w: %w", reward.ErrOutOfMemory, err)
	}
	return err
}

// Close frees the session. The evaluator must not be used afterwards.
func (e *Evaluator) Close() error { return e.session.Close() }

// Describe tells the checkpoint's fingerprint, which covers weights,
// configuration, tokenizer and the options that change answers.
func (e *Evaluator) Describe() reward.Description {
	side := e.config.patchGrid() / e.config.Vision.SpatialMergeSize * heatmapUpscale
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

// Evaluate judges the samples, MaxBatch at a time. A sample whose prompt cannot
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
	out, err := e.run(ctx, e.batch(mode, ready).inputs(e.inputs))
	if err != nil {
		return fmt.Errorf("imagedoctor: %d pictures: %w", len(rows), memoryError(err))
	}
	for r, i := range rows {
		results[i] = e.result(mode, ready[r], out, r)
	}
	return nil
}

// run runs the graph. A GPU that ran out of memory is full of what the batch left
// behind, in pieces of its sizes: the session is unloaded, and loaded again in
// seconds by the next run, to have room for smaller batches and for the decoders
// of latents beside it.
func (e *Evaluator) run(ctx context.Context, inputs []ort.Tensor) ([]ort.Tensor, error) {
	out, err := e.session.Run(ctx, inputs)
	if errors.Is(err, ort.ErrOutOfMemory) && e.options.Provider.Kind == ort.CUDA {
		err = errors.Join(err, e.session.Unload())
	}
	return out, err
}
