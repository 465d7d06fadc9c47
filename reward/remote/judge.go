package remote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"

	"github.com/denseflow/densereward/engine/image/resize"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/judge"
)

// Judge is a vision-language model behind an endpoint that speaks OpenAI's chat
// completions, asked by a judge file. It is safe for concurrent use.
type Judge struct {
	*chatModel
	file  *judge.File
	about reward.Description
}

var (
	_ reward.Evaluator = (*Judge)(nil)
	_ reward.Generator = (*Judge)(nil)
)

// NewJudge makes an evaluator of the model called model. Options.URL is the endpoint's
// base, which ends in /v1 with vLLM and SGLang. Nothing is sent yet.
func NewJudge(file *judge.File, model string, o Options) (*Judge, error) {
	e, err := newEndpoint(o)
	if err != nil {
		return nil, err
	}
	about := file.Describe()
	about.Kind, about.Generates = "remote", true
	if o.Name != "" {
		about.Name = o.Name
	}
	// What the endpoint serves under the model's name may change without notice: the
	// fingerprint is that of the question.
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %+v", e.base, model, *file))
	about.Fingerprint = hex.EncodeToString(sum[:])
	return &Judge{chatModel: &chatModel{e, model}, file: file, about: about}, nil
}

// Describe says what the judge file reads.
func (j *Judge) Describe() reward.Description { return j.about }

// Evaluate asks about each sample by itself.
func (j *Judge) Evaluate(ctx context.Context, samples []reward.Sample) ([]reward.Result, error) {
	return j.each(ctx, samples, func(s *reward.Sample) reward.Result { return j.evaluate(ctx, s) })
}

func (j *Judge) evaluate(ctx context.Context, s *reward.Sample) reward.Result {
	if s.Mode != "" && s.Mode != reward.ModeAnswer {
		return reward.Result{Err: reward.ErrUnsupportedMode.With("mode: %s does not answer in mode %q", j.about.Name, s.Mode)}
	}
	if err := s.Check(); err != nil {
		return reward.Result{Err: err}
	}
	q, err := j.question(j.file.System, j.file.Ask(s.Prompt), j.shown(s.Image), j.file.ImageLast)
	if err != nil {
		return reward.Result{Err: err}
	}
	q.MaxTokens = j.file.MaxNewTokens
	if j.file.Probability != nil {
		q.LogProbs, q.TopLogProbs = true, topLogProbs
	}
	answer, err := j.ask(ctx, q)
	if err != nil {
		return reward.Result{Err: err}
	}
	return j.file.Read(answer.first())
}

// Generate has the endpoint continue each sample's prompt by itself. A sample that
// names no limit has the judge file's.
func (j *Judge) Generate(ctx context.Context, samples []reward.Sample) ([]reward.Result, error) {
	return j.each(ctx, samples, func(s *reward.Sample) reward.Result { return j.generate(ctx, s, j.file.MaxNewTokens) })
}

// shown is the image as the file wants it.
func (j *Judge) shown(m *reward.Image) *reward.Image {
	if j.file.ImageSize == nil {
		return m
	}
	return resize.Resize(m, j.file.ImageSize[0], j.file.ImageSize[1])
}

// first is the first choice as judge files read it.
func (r *chatResponse) first() judge.Answer {
	c := &r.Choices[0]
	a := judge.Answer{Text: *c.Message.Content, Truncated: c.truncated()}
	if c.LogProbs != nil && len(c.LogProbs.Content) > 0 && len(c.LogProbs.Content[0].Top) > 0 {
		a.First = map[string]float64{}
		for _, t := range c.LogProbs.Content[0].Top {
			probability := math.NaN() // of a null, which some servers make of NaN
			if t.LogProb != nil {
				probability = math.Exp(*t.LogProb)
			}
			a.First[t.Token] += probability
		}
	}
	return a
}
