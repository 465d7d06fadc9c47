// Package evaluator is a Qwen2.5-VL or Qwen3-VL asked by a judge file (package
// reward/judge): prompt and image in, scores and boxes out.
package evaluator

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/denseflow/densereward/engine/image/resize"
	"github.com/denseflow/densereward/engine/initializers"
	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/qwenvl"
	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
	"github.com/denseflow/densereward/engine/qwenvl/draft"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/judge"
)

// Kind is the judges' kind of evaluator.
const Kind = "qwen-vl"

// Options are the settings of a Judge. The zero value runs the checkpoint and
// the judge file as they say, on the CPU with all cores.
type Options struct {
	Provider ort.Provider
	Threads  int // 0 is one per core
	// Float32 computes in float32 on a GPU as well, where bfloat16 is many times
	// faster: to compare. A CPU always does.
	Float32 bool

	// NoSpeculative decodes a token a step, without draft tokens from the answers that
	// were given before. The answers are the same.
	NoSpeculative bool
	// FixedDraft is the same here, as there is no wording to begin with.
	FixedDraft bool

	// RepetitionPenalty replaces the one of generation_config.json; 0 leaves it.
	RepetitionPenalty float64
	// PromptTokens bounds the tokens of a sample's prompt, without what the judge
	// file puts around it; 0 is 1,024.
	PromptTokens int
	// MaxPixels replaces the limit of the processor's configuration, above which
	// images are made smaller; 0 leaves it.
	MaxPixels int
	// MaxBatch is how many samples go through the graph at once; 0 is 16.
	MaxBatch int
	// BatchTokens bounds what is padded to the longest prompt of a batch; 0 is 1,024
	// for each sample of a full batch. A sample of more is a batch by itself.
	BatchTokens int

	// Demonstration marks weights that are not fit for training.
	Demonstration bool
}

// Names of the judge's outputs.
const (
	outputAnswer = "generated_ids" // (B,N) int64; after a row's end, its end token again
	outputFirst  = "first_logits"  // (B,vocabulary) float32: behind the prompt; only where a judge file wants a probability
)

// Judge is a Qwen2.5-VL or Qwen3-VL that is asked by a judge file. It is safe for
// concurrent use.
type Judge struct {
	file        *judge.File
	options     Options
	checkpoint  *checkpoint.Folder
	config      checkpoint.Config
	session     *qwenvl.Session
	resizer     resize.Resizer
	fingerprint string
	tokens      map[string]int32 // whose probability the file wants
	drafts      *draft.Learner   // nil where an answer is one token
}

var (
	_ reward.Evaluator    = (*Judge)(nil)
	_ reward.Preparer     = (*Judge)(nil)
	_ reward.TokenCounter = (*Judge)(nil)
	_ reward.Generator    = (*Judge)(nil)
)

// Load opens the checkpoint folder dir to be asked by file: see
// checkpoint.Open. The judge must be closed.
func Load(runtime *ort.Runtime, dir string, file *judge.File, o Options) (*Judge, error) {
	j, err := open(dir, file, o)
	if err != nil {
		return nil, fmt.Errorf("qwen-vl: %w", err)
	}
	g, err := j.graph()
	if err != nil {
		return nil, err
	}
	if j.fingerprint, err = j.checkpoint.Fingerprint(fmt.Sprintf("%+v %v %v %v %v\n",
		file, j.options.RepetitionPenalty, j.config.Preprocessor.MaxPixels, o.Provider.Kind, o.Float32)); err != nil {
		return nil, fmt.Errorf("qwen-vl: %w", err)
	}
	j.session, err = qwenvl.OpenSession(runtime, g, j.checkpoint.Weights, ort.SessionOptions{
		Provider: qwenvl.Provider(o.Provider, j.form().DType), Threads: o.Threads,
	})
	if err != nil {
		return nil, fmt.Errorf("qwen-vl: %w", err)
	}
	return j, nil
}

// open is a judge without a session.
func open(dir string, file *judge.File, o Options) (*Judge, error) {
	if !(o.RepetitionPenalty >= 0) || math.IsInf(o.RepetitionPenalty, 1) {
		return nil, fmt.Errorf("options: repetition penalty %v is not a number from 0 on", o.RepetitionPenalty)
	}
	for name, n := range map[string]int{
		"threads": o.Threads, "prompt tokens": o.PromptTokens, "pixels": o.MaxPixels, "batch": o.MaxBatch, "batch tokens": o.BatchTokens,
	} {
		if n < 0 {
			return nil, fmt.Errorf("options: %s: %d is below 0", name, n)
		}
	}
	f, err := checkpoint.Open(dir)
	if err != nil {
		return nil, err
	}
	o.RepetitionPenalty = cmp.Or(o.RepetitionPenalty, f.Config.RepetitionPenalty)
	o.PromptTokens = cmp.Or(o.PromptTokens, 1024)
	o.MaxBatch = cmp.Or(o.MaxBatch, 16)
	o.BatchTokens = cmp.Or(o.BatchTokens, 1024*o.MaxBatch)
	j := &Judge{file: file, options: o, checkpoint: f, config: f.Config}
	if o.MaxPixels > 0 {
		p := &j.config.Preprocessor
		p.MaxPixels = o.MaxPixels
		p.MinPixels = min(p.MinPixels, o.MaxPixels)
	}
	// The first token has no draft.
	if file.MaxNewTokens > 1 && !o.NoSpeculative && !o.FixedDraft {
		j.drafts = draft.New(f.Tokenizer, f.Vocabulary())
	}
	return j, j.findTokens()
}

// findTokens looks up the tokens whose probability the judge file wants.
func (j *Judge) findTokens() error {
	p := j.file.Probability
	if p == nil {
		return nil
	}
	j.tokens = map[string]int32{}
	for _, text := range append(append([]string(nil), p.Tokens...), p.Against...) {
		ids := j.checkpoint.Tokenizer.EncodeOrdinary(text)
		if len(ids) != 1 {
			return fmt.Errorf("judge %s: probability: %q is %d tokens of this tokenizer, not one", j.file.Name, text, len(ids))
		}
		j.tokens[text] = ids[0]
	}
	return nil
}

// form is the graph that the options ask for.
func (j *Judge) form() qwenvl.Options {
	o := qwenvl.Options{DType: onnx.Float32, Penalty: j.options.RepetitionPenalty != 1, Drafted: j.drafts != nil}
	if j.options.Provider.Kind == ort.CUDA && !j.options.Float32 {
		o.DType, o.Paged = onnx.BFloat16, true
	}
	return o
}

// graph writes the judge for the checkpoint's tensors, all of which are checked.
func (j *Judge) graph() (*onnx.Graph, error) {
	g := onnx.New("qwenvl")
	m := qwenvl.NewGraph(g, initializers.New(g, j.checkpoint.Weights, Kind), j.config, j.form())
	g.Output(outputAnswer, m.Answer)
	if j.tokens != nil {
		g.Output(outputFirst, m.Logits())
	}
	return g, m.Err()
}

// Close frees the session. The judge must not be used afterwards.
func (j *Judge) Close() error { return j.session.Close() }

// Describe tells what the judge file says of its scores and boxes, and the
// fingerprint of checkpoint, file and options.
func (j *Judge) Describe() reward.Description {
	d := j.file.Describe()
	d.Kind, d.Fingerprint = Kind, j.fingerprint
	d.PromptTokens, d.Demonstration, d.Generates = j.options.PromptTokens, j.options.Demonstration, true
	return d
}

// asked is a sample ready for a batch.
type asked struct{ qwenvl.Prompt }

// turn is what a model is asked in one turn of the chat.
type turn struct {
	system, text string
	imageLast    bool
}

// turnOf is the judge file's question, or the caller's own.
func (j *Judge) turnOf(s *reward.Sample) turn {
	if s.Mode == reward.ModeGenerate {
		return turn{s.Continuation.System, s.Prompt, s.Continuation.ImageLast}
	}
	return turn{j.file.System, j.file.Ask(s.Prompt), j.file.ImageLast}
}

// Prepare resizes the image as the processor does and makes token ids of the prompt.
func (j *Judge) Prepare(ctx context.Context, s *reward.Sample) error {
	if _, ok := s.Prepared.(*asked); ok {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.Check(); err != nil {
		return err
	}
	if s.Mode != "" && s.Mode != reward.ModeAnswer && s.Mode != reward.ModeGenerate {
		return reward.ErrUnsupportedMode.With("mode %q: this judge has only %s", s.Mode, reward.ModeAnswer)
	}
	if err := j.checkLengths(s); err != nil {
		return err
	}
	image, err := j.resized(s)
	if err != nil {
		return err
	}
	p, err := qwenvl.LayOut(j.config, j.chat(j.turnOf(s), j.config.Grid(image).Units()), image)
	if err != nil {
		return fmt.Errorf("qwen-vl: %w", err)
	}
	s.Prepared = &asked{p}
	return nil
}

// checkLengths holds what the caller wrote and wants written against the limits.
func (j *Judge) checkLengths(s *reward.Sample) error {
	n := len(j.checkpoint.Tokenizer.EncodeOrdinary(s.Prompt))
	if s.Mode == reward.ModeGenerate {
		n += len(j.checkpoint.Tokenizer.EncodeOrdinary(s.Continuation.System))
		if tokens := s.Continuation.MaxNewTokens; tokens < 0 || tokens > maxGenerated {
			return reward.ErrInvalidValue.With("max_tokens: %d, want at most %d", tokens, maxGenerated)
		}
	}
	if n > j.options.PromptTokens {
		return reward.ErrInvalidValue.With("prompt: %d tokens, the limit is %d", n, j.options.PromptTokens)
	}
	return nil
}

// resized is the image in the judge file's size, by Pillow's filter, and then in the
// processor's, by torch's. The judge file has no say in what a caller asks.
func (j *Judge) resized(s *reward.Sample) (*reward.Image, error) {
	image := s.Image
	if size := j.file.ImageSize; size != nil && s.Mode != reward.ModeGenerate {
		image = j.resizer.Resize(image, size[0], size[1])
	}
	h, w, err := j.config.SmartResize(image.Height, image.Width)
	if err != nil {
		return nil, reward.ErrInvalidValue.With("image: %v", err)
	}
	return j.resizer.ResizeTorch(image, w, h), nil
}

// defaultSystem is what Qwen2.5-VL's chat template says where there is no system
// text; Qwen3-VL's says nothing.
const defaultSystem = "You are a helpful assistant."

// chat is the token ids of one turn of the chat with an image of so many tokens.
// Special tokens spelt in the text are not recognised: it cannot end its turn.
func (j *Judge) chat(q turn, imageTokens int) []int32 {
	t := j.checkpoint.Tokenizer
	system := q.system
	if system == "" && j.config.Family == checkpoint.Qwen25VL {
		system = defaultSystem
	}
	var ids []int32
	if system != "" {
		ids = append(t.Encode(checkpoint.TurnStart+"system\n"), t.EncodeOrdinary(system)...)
		ids = append(ids, t.Encode(checkpoint.TurnEnd+"\n")...)
	}
	ids = append(ids, t.Encode(checkpoint.TurnStart+"user\n")...)
	image, words := j.config.WrapImage(imageTokens), t.EncodeOrdinary(q.text)
	if q.imageLast {
		ids = append(append(ids, words...), image...)
	} else {
		ids = append(append(ids, image...), words...)
	}
	return append(ids, t.Encode(checkpoint.TurnEnd+"\n"+checkpoint.TurnStart+"assistant\n")...)
}

// Tokens is the tokens of a prepared sample in its batch.
func (j *Judge) Tokens(s *reward.Sample) int {
	if p, ok := s.Prepared.(*asked); ok {
		return len(p.IDs)
	}
	return 0
}

// BatchTokens is the limit of a batch in padded tokens: see Options.
func (j *Judge) BatchTokens() int { return j.options.BatchTokens }

// Evaluate asks about the samples in batches of MaxBatch samples and BatchTokens
// tokens at most. Images of a batch may differ in size. A sample that cannot be used,
// or whose answer cannot be read, has its error in its result.
func (j *Judge) Evaluate(ctx context.Context, samples []reward.Sample) ([]reward.Result, error) {
	return j.inBatches(ctx, samples, false, j.evaluate)
}

type row struct {
	at     int // among the samples of the call
	sample reward.Sample
	prompt qwenvl.Prompt
}

// inBatches has each batch's results filled in by run; those of samples that do not
// fit the call are errors.
func (j *Judge) inBatches(ctx context.Context, samples []reward.Sample, generates bool, run func(context.Context, []row, []reward.Result) error) ([]reward.Result, error) {
	results := make([]reward.Result, len(samples))
	var rows []row
	var lengths []int
	samples = slices.Clone(samples)
	errs := reward.PrepareAll(ctx, j, samples)
	for i, s := range samples {
		err := errs[i]
		if err == nil && (s.Mode == reward.ModeGenerate) != generates {
			err = reward.ErrUnsupportedMode.With("mode %q: prompts are continued in mode %q, and in no other", s.Mode, reward.ModeGenerate)
		}
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			results[i].Err = err
			continue
		}
		p := s.Prepared.(*asked).Prompt
		rows, lengths = append(rows, row{i, s, p}), append(lengths, len(p.IDs))
	}
	for _, part := range qwenvl.Parts(lengths, j.options.MaxBatch, j.options.BatchTokens) {
		if err := run(ctx, rows[part.From:part.To], results); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// run gives the graph's outputs for rows, of so many new tokens at most.
func (j *Judge) run(ctx context.Context, rows []row, tokens int) (map[string]ort.Tensor, error) {
	b := qwenvl.Batch{MaxNewTokens: tokens, Penalty: j.options.RepetitionPenalty}
	for i := range rows {
		b.Prompts = append(b.Prompts, rows[i].prompt)
	}
	if j.drafts != nil {
		b.Draft = j.drafts.Machine()
	}
	out, err := j.session.Run(ctx, b.Inputs(j.config))
	if err != nil {
		return nil, fmt.Errorf("qwen-vl: %d images: %w", len(rows), err)
	}
	return out, nil
}

// answerIDs are the tokens written in row r.
func (j *Judge) answerIDs(out map[string]ort.Tensor, r int) []int32 {
	return qwenvl.AnswerIDs(&j.config, out[outputAnswer], r)
}

// evaluate runs rows as one batch and reads what was answered.
func (j *Judge) evaluate(ctx context.Context, rows []row, results []reward.Result) error {
	out, err := j.run(ctx, rows, j.file.MaxNewTokens)
	if err != nil {
		return err
	}
	for r, row := range rows {
		result := j.read(out, r)
		result.Trace.InputIDs = row.prompt.IDs
		if result.Err != nil {
			result = reward.Result{Err: result.Err}
		} else if j.drafts != nil {
			j.drafts.Learn(result.Trace.GeneratedIDs)
		}
		results[row.at] = result
	}
	return nil
}

// read makes a result of row r of the graph's outputs.
func (j *Judge) read(out map[string]ort.Tensor, r int) reward.Result {
	ids := j.answerIDs(out, r)
	answer := judge.Answer{
		Text:      j.checkpoint.Tokenizer.Decode(ids, true),
		Truncated: len(ids) >= j.file.MaxNewTokens && !j.config.IsEOS(ids[len(ids)-1]),
	}
	if j.tokens != nil {
		answer.First = j.probabilities(out[outputFirst], r)
	}
	result := j.file.Read(answer)
	result.Trace.GeneratedIDs = ids
	return result
}

// probabilities are those of the tokens that the judge file names, by row r of logits
// (B,vocabulary).
func (j *Judge) probabilities(logits ort.Tensor, r int) map[string]float64 {
	size := int(logits.Shape[1])
	row := logits.Float32s()[r*size : (r+1)*size]
	most := math.Inf(-1)
	for _, v := range row {
		most = max(most, float64(v))
	}
	sum := 0.0
	for _, v := range row {
		sum += math.Exp(float64(v) - most)
	}
	first := map[string]float64{}
	for text, id := range j.tokens {
		first[text] = math.Exp(float64(row[id])-most) / sum
	}
	return first
}
