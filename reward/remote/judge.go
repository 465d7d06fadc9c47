package remote

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"

	"github.com/denseflow/densereward/engine/image/png"
	"github.com/denseflow/densereward/engine/image/resize"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/judge"
)

// Judge is a vision-language model behind an endpoint that speaks OpenAI's chat
// completions, asked by a judge file. It is safe for concurrent use.
type Judge struct {
	*endpoint
	file  *judge.File
	model string
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
	return &Judge{endpoint: e, file: file, model: model, about: about}, nil
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
	q, err := j.chat(j.file.System, j.file.Ask(s.Prompt), j.shown(s.Image), j.file.ImageLast)
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
	return j.each(ctx, samples, func(s *reward.Sample) reward.Result { return j.generate(ctx, s) })
}

func (j *Judge) generate(ctx context.Context, s *reward.Sample) reward.Result {
	if s.Mode != reward.ModeGenerate {
		return reward.Result{Err: reward.ErrUnsupportedMode.With("mode: prompts are continued in mode %q, not %q", reward.ModeGenerate, s.Mode)}
	}
	if err := s.Check(); err != nil {
		return reward.Result{Err: err}
	}
	c := &s.Continuation
	q, err := j.chat(c.System, s.Prompt, s.Image, c.ImageLast)
	if err != nil {
		return reward.Result{Err: err}
	}
	q.MaxTokens, q.Stop = cmp.Or(c.MaxNewTokens, j.file.MaxNewTokens), c.Stop
	answer, err := j.ask(ctx, q)
	if err != nil {
		return reward.Result{Err: err}
	}
	first := answer.Choices[0]
	return reward.Result{Generation: &reward.Generation{
		Text: *first.Message.Content, PromptTokens: answer.Usage.PromptTokens, Tokens: answer.Usage.CompletionTokens, Truncated: first.truncated(),
	}}
}

// ask sends a question and gives an answer with a text.
func (j *Judge) ask(ctx context.Context, q *chatRequest) (*chatResponse, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	data, err := j.post(ctx, "/chat/completions", http.Header{"Content-Type": {"application/json"}}, body)
	if err != nil {
		return nil, err
	}
	answer, err := readCompletion(data)
	if err != nil {
		return nil, reward.ErrEvaluatorFailed.With("%s: %v", j.base.Host, err)
	}
	return answer, nil
}

// The parts of a chat completion that are used.
type (
	chatRequest struct {
		Model       string        `json:"model"`
		Messages    []chatMessage `json:"messages"`
		Temperature float64       `json:"temperature"`
		MaxTokens   int           `json:"max_tokens"`
		Stop        []string      `json:"stop,omitempty"`
		LogProbs    bool          `json:"logprobs,omitempty"`
		TopLogProbs int           `json:"top_logprobs,omitempty"`
	}
	chatMessage struct {
		Role    string     `json:"role"`
		Content []chatPart `json:"content"`
	}
	chatPart struct {
		Type     string    `json:"type"`
		Text     string    `json:"text,omitempty"`
		ImageURL *imageURL `json:"image_url,omitempty"`
	}
	imageURL struct {
		URL string `json:"url"`
	}
	chatResponse struct {
		Choices []chatChoice `json:"choices"`
		Usage   struct {
			PromptTokens     int `json:"prompt_tokens"`
			CompletionTokens int `json:"completion_tokens"`
		} `json:"usage"`
	}
	chatChoice struct {
		Message struct {
			Content *string `json:"content"`
			Refusal string  `json:"refusal"`
		} `json:"message"`
		FinishReason string `json:"finish_reason"`
		LogProbs     *struct {
			Content []struct {
				Top []struct {
					Token   string   `json:"token"`
					LogProb *float64 `json:"logprob"`
				} `json:"top_logprobs"`
			} `json:"content"`
		} `json:"logprobs"`
	}
)

// topLogProbs is how many tokens of the first place are asked for, the most that
// OpenAI's protocol allows.
const topLogProbs = 20

// chat is a question about an image.
func (j *Judge) chat(system, text string, image *reward.Image, imageLast bool) (*chatRequest, error) {
	file, err := png.Encode(image)
	if err != nil {
		return nil, err
	}
	content := []chatPart{{Type: "image_url", ImageURL: &imageURL{"data:image/png;base64," + base64.StdEncoding.EncodeToString(file)}}}
	if text != "" {
		content = append(content, chatPart{Type: "text", Text: text})
	}
	if imageLast {
		slices.Reverse(content)
	}
	q := &chatRequest{Model: j.model}
	if system != "" {
		q.Messages = append(q.Messages, chatMessage{"system", []chatPart{{Type: "text", Text: system}}})
	}
	q.Messages = append(q.Messages, chatMessage{"user", content})
	return q, nil
}

// shown is the image as the file wants it.
func (j *Judge) shown(m *reward.Image) *reward.Image {
	if j.file.ImageSize == nil {
		return m
	}
	return resize.Resize(m, j.file.ImageSize[0], j.file.ImageSize[1])
}

// readCompletion reads an answer whose first choice has a text.
func readCompletion(data []byte) (*chatResponse, error) {
	r := &chatResponse{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("the answer is no chat completion: %w", err)
	}
	if len(r.Choices) == 0 {
		return nil, fmt.Errorf("the answer has no choice: %.200s", data)
	}
	switch first := &r.Choices[0]; {
	case first.Message.Refusal != "":
		return nil, fmt.Errorf("the model refused: %.200q", first.Message.Refusal)
	case first.FinishReason == "content_filter":
		return nil, errors.New("the answer was held back by a content filter")
	case first.Message.Content == nil:
		return nil, fmt.Errorf("the answer has no text: %.200s", data)
	}
	return r, nil
}

func (c *chatChoice) truncated() bool { return c.FinishReason == "length" }

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
