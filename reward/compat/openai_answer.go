package compat

import (
	"context"
	"strings"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/scoring"
)

// The JSON of a chat completion.
type (
	completion struct {
		ID      string   `json:"id"`
		Object  string   `json:"object"`
		Created int64    `json:"created"`
		Model   string   `json:"model"`
		Choices []choice `json:"choices"`
		Usage   usage    `json:"usage"`
	}

	choice struct {
		Index        int     `json:"index"`
		Message      message `json:"message"`
		LogProbs     *string `json:"logprobs"` // null
		FinishReason string  `json:"finish_reason"`
	}

	message struct {
		Role    string  `json:"role"`
		Content string  `json:"content"`
		Refusal *string `json:"refusal"` // null
	}

	usage struct {
		PromptTokens     int `json:"prompt_tokens"`
		CompletionTokens int `json:"completion_tokens"`
		TotalTokens      int `json:"total_tokens"`
	}
)

func newCompletion(text string, prompt, tokens int, truncated bool) *completion {
	finish := "stop"
	if truncated {
		finish = "length"
	}
	return &completion{
		Object: "chat.completion",
		Choices: []choice{{
			Message:      message{Role: "assistant", Content: strings.ToValidUTF8(text, "\uFFFD")},
			FinishReason: finish,
		}},
		Usage: usage{PromptTokens: prompt, CompletionTokens: tokens, TotalTokens: prompt + tokens},
	}
}

// input is the user's image with its text.
func (q *chat) input(text string) scoring.Input {
	return scoring.Input{Prompts: []string{text}, Images: []scoring.Image{{Encoded: q.user().image}}}
}

// generate has the evaluator continue the messages as they are.
func (q *chat) generate(ctx context.Context, host Host) (*completion, error) {
	m := q.user()
	if m.before > 0 && m.before < len(m.texts) {
		return nil, reward.ErrInvalidValue.With("messages[%d].content: texts before the image and behind it: want one side", len(q.messages)-1)
	}
	g, err := host.Generate(ctx, q.model, q.input(strings.Join(m.texts, "")), reward.Continuation{
		System: q.system(), ImageLast: m.before > 0, MaxNewTokens: q.maxTokens, Stop: q.stop,
	})
	if err != nil {
		return nil, err
	}
	if e := g.Errors[0]; e != nil {
		return nil, e
	}
	written := &g.Generations[0]
	return newCompletion(written.Text, written.PromptTokens, written.Tokens, written.Truncated), nil
}

// ask has the evaluator answer in its own template.
func (q *chat) ask(ctx context.Context, host Host) (*completion, error) {
	switch {
	case len(q.messages) > 1:
		return nil, noConversation(0, q.messages[0].role)
	case len(q.user().texts) == 0:
		return nil, reward.ErrMissingField.With("messages[0].content: want the image's prompt as text")
	case len(q.stop) > 0:
		return nil, reward.ErrInvalidValue.With("stop: the evaluator answers in its own template and is not cut")
	}
	s, err := host.Score(ctx, Call{
		Evaluator: q.model,
		Input:     q.input(strings.Join(q.user().texts, "\n")),
		// The text is all that is answered, whatever scores it has.
		Options: scoring.Options{Mode: q.mode, Parts: scoring.Parts{Text: true}, Patient: true, Missing: reward.MissingZero},
	})
	if err != nil {
		return nil, err
	}
	return q.answer(s)
}

// answer gives the completion of an evaluator's own answer, which is never cut: half a
// verdict reads like another one.
func (q *chat) answer(s *scoring.Scored) (*completion, error) {
	if e := s.Errors[0]; e != nil {
		return nil, e
	}
	o := &s.Outcomes[0]
	tokens := len(o.Trace.GeneratedIDs)
	if q.maxTokens > 0 && tokens > q.maxTokens {
		return nil, reward.ErrInvalidValue.With("max_tokens: the answer has %d tokens, more than %d, and is not cut", tokens, q.maxTokens)
	}
	return newCompletion(o.Text, len(o.Trace.InputIDs), tokens, false), nil
}
