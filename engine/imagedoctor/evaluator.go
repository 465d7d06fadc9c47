package imagedoctor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/pixels"
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
	resizer     pixels.Resizer
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
	config, err := LoadConfig(dir)
	if err != nil {
		return nil, err
	}
	checkpoint, err := safetensors.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("imagedoctor: %w", err)
	}
	t, err := readTokenizer(dir)
	if err != nil {
		return nil, err
	}
	if o.RepetitionPenalty == 0 {
		o.RepetitionPenalty = config.RepetitionPenalty
	}
	if o.MaxBatch == 0 {
		o.MaxBatch = defaultMaxBatch
	}
	e := &Evaluator{config: config, options: o, tokenizer: t, imageStart: len(t.Encode(promptHead))}
	if err := errors.Join(o.check(), config.CheckTokens(t.TokenID)); err != nil {
		return nil, err
	}
	if !o.OneByOne {
		e.draft = newDraft(t, (&language{w: newWeights(nil, checkpoint), c: config}).vocabulary())
	}
	graph, err := buildGraph(config, checkpoint, e.form())
	if err != nil {
		return nil, err
	}
	if e.fingerprint, err = fingerprint(dir, checkpoint, o); err != nil {
		return nil, err
	}
	if err := e.open(runtime, checkpoint, graph); err != nil {
		return nil, err
	}
	return e, nil
}

// weightsFolder is the folder that holds the shards: another than the
// checkpoint's where that has links, as a hub's cache has.
func weightsFolder(checkpoint *safetensors.Checkpoint) (string, error) {
	folder := ""
	for _, name := range checkpoint.Names() {
		t, _ := checkpoint.Tensor(name)
		switch dir := filepath.Dir(t.Path); {
		case folder == "":
			folder = dir
		case folder != dir:
			return "", fmt.Errorf("imagedoctor: tensor %s lies in another folder than the shards before it", name)
		}
	}
	return folder, nil
}

func readTokenizer(dir string) (*tokenizer.Tokenizer, error) {
	t, err := tokenizer.Load(filepath.Join(dir, "tokenizer.json"))
	if err != nil {
		return nil, fmt.Errorf("imagedoctor: %w", err)
	}
	return t, nil
}

func (o Options) check() error {
	if o.RepetitionPenalty < 0 || o.MaxNewTokens < 0 || o.MaxBatch < 0 {
		return fmt.Errorf("imagedoctor: options: repetition penalty %v, new tokens %d and batch %d must not be negative",
			o.RepetitionPenalty, o.MaxNewTokens, o.MaxBatch)
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
	dir, err := weightsFolder(checkpoint)
	if err != nil {
		return err
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
		Fingerprint:   e.fingerprint,
		Modes:         []reward.Mode{reward.ModeAnswer, reward.ModeThink},
		HeatmapHeight: side,
		HeatmapWidth:  side,
		Demonstration: e.options.Demonstration,
	}
}

// fingerprint hashes everything that answers depend on.
func fingerprint(dir string, checkpoint *safetensors.Checkpoint, o Options) (string, error) {
	weights, err := checkpoint.Fingerprint()
	if err != nil {
		return "", fmt.Errorf("imagedoctor: %w", err)
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%s\n%v %v %v %v\n", weights, o.RepetitionPenalty, o.MaxNewTokens, o.Provider.Kind, o.Float32)
	if o.Prefix != nil {
		fmt.Fprintf(sum, "prefix %q\n", *o.Prefix)
	}
	for _, name := range []string{"config.json", "tokenizer.json", "preprocessor_config.json", "generation_config.json"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("imagedoctor: %w", err)
		}
		fmt.Fprintf(sum, "%s %d\n", name, len(data))
		sum.Write(data)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// Evaluate judges the samples, MaxBatch at a time. A sample whose prompt cannot
// be used has its error in its result.
func (e *Evaluator) Evaluate(ctx context.Context, samples []reward.Sample) ([]reward.Result, error) {
	results := make([]reward.Result, len(samples))
	byMode := map[reward.Mode][]int{}
	for i := range samples {
		mode := samples[i].Mode
		byMode[mode] = append(byMode[mode], i)
	}
	for _, mode := range []reward.Mode{reward.ModeAnswer, reward.ModeThink, ""} {
		for part := range slices.Chunk(byMode[mode], e.options.MaxBatch) {
			if err := e.evaluate(ctx, mode, samples, results, part); err != nil {
				return nil, err
			}
		}
		delete(byMode, mode)
	}
	for mode, part := range byMode {
		for _, i := range part {
			results[i].Err = fmt.Errorf("imagedoctor: mode %q is not known", mode)
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
	out, err := e.session.Run(ctx, e.batch(mode, ready).inputs(e.inputs))
	if err != nil {
		return fmt.Errorf("imagedoctor: %d pictures: %w", len(rows), memoryError(err))
	}
	for r, i := range rows {
		results[i] = e.result(mode, ready[r], out, r)
	}
	return nil
}
