package remote

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/denseflow/densereward/engine/image/png"
	"github.com/denseflow/densereward/reward"
)

// chatModel is a model behind an endpoint that speaks OpenAI's chat completions.
type chatModel struct {
	*endpoint
	model string
}

// generate has the model continue a sample's prompt. A sample that names no limit of
// tokens has most, and the endpoint's own where that is 0.
func (c *chatModel) generate(ctx context.Context, s *reward.Sample, most int) reward.Result {
	if s.Mode != reward.ModeGenerate {
		return reward.Result{Err: reward.ErrUnsupportedMode.With("mode: prompts are continued in mode %q, not %q", reward.ModeGenerate, s.Mode)}
	}
	if err := s.Check(); err != nil {
		return reward.Result{Err: err}
	}
	q, err := c.question(s.Continuation.System, s.Prompt, s.Image, s.Continuation.ImageLast)
	if err != nil {
		return reward.Result{Err: err}
	}
	q.MaxTokens, q.Stop = cmp.Or(s.Continuation.MaxNewTokens, most), s.Continuation.Stop
	answer, err := c.ask(ctx, q)
	if err != nil {
		return reward.Result{Err: err}
	}
	first := answer.Choices[0]
	return reward.Result{Generation: &reward.Generation{
		Text: *first.Message.Content, PromptTokens: answer.Usage.PromptTokens, Tokens: answer.Usage.CompletionTokens, Truncated: first.truncated(),
	}}
}

// ask sends a question and gives an answer with a text.
func (c *chatModel) ask(ctx context.Context, q *chatRequest) (*chatResponse, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	data, err := c.post(ctx, "/chat/completions", http.Header{"Content-Type": {"application/json"}}, body)
	if err != nil {
		return nil, err
	}
	answer, err := readCompletion(data)
	if err != nil {
		return nil, reward.ErrEvaluatorFailed.With("%s: %v", c.base.Host, err)
	}
	return answer, nil
}

// The parts of a chat completion that are used.
type (
	chatRequest struct {
		Model       string        `json:"model"`
		Messages    []chatMessage `json:"messages"`
		Temperature float64       `json:"temperature"`
		MaxTokens   int           `json:"max_tokens,omitempty"`
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

// question asks about an image.
func (c *chatModel) question(system, text string, image *reward.Image, imageLast bool) (*chatRequest, error) {
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
	q := &chatRequest{Model: c.model}
	if system != "" {
		q.Messages = append(q.Messages, chatMessage{"system", []chatPart{{Type: "text", Text: system}}})
	}
	q.Messages = append(q.Messages, chatMessage{"user", content})
	return q, nil
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
