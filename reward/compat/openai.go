package compat

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/scoring"
	"github.com/denseflow/densereward/reward/wire"
	"github.com/denseflow/densereward/reward/wire/boundedjson"
)

// openAI is chat completions as OpenAI has them and vLLM serves them, for rewards
// that read what a model writes of an image: one message of a user with one image
// and its prompt is answered with the evaluator's text. The evaluator puts the
// prompt into its own template. What cannot be done is refused: streams, several
// choices, tools, log-probs and an answer cut at max_tokens.
func openAI(now func() time.Time) []Endpoint {
	return []Endpoint{{
		Method: http.MethodPost, Path: "/v1/chat/completions",
		Decode: func(body []byte, limits wire.Limits) (*Request, error) { return decodeChat(body, limits, now) },
	}}
}

// chat is one request.
type chat struct {
	model     string
	mode      reward.Mode // a key of this server
	messages  int
	texts     []string
	image     []byte // a file
	maxTokens int    // 0 is no limit
	ignored   []string
}

func decodeChat(body []byte, limits wire.Limits, now func() time.Time) (*Request, error) {
	r := boundedjson.NewPython(body)
	q := &chat{}
	err := r.Document(func(key string) error { return q.field(r, key, limits) })
	if err == nil {
		err = q.check()
	}
	if err != nil {
		return nil, err
	}
	return &Request{
		Calls: []Call{{
			Evaluator: q.model,
			Input:     scoring.Input{Prompts: []string{strings.Join(q.texts, "\n")}, Images: []scoring.Image{{Encoded: q.image}}},
			Options:   scoring.Options{Mode: q.mode, Parts: scoring.Parts{Text: true}, Patient: true},
		}},
		Ignored: q.ignored,
		Answer:  func(scored []*scoring.Scored) (any, error) { return q.answer(scored[0], now()) },
	}, nil
}

func (q *chat) field(r *boundedjson.Reader, key string, limits wire.Limits) (err error) {
	switch key {
	case "model":
		q.model, err = r.Text(limits.NameBytes)
	case "mode":
		var mode string
		mode, err = r.Text(reward.MaxNameBytes)
		if q.mode = reward.Mode(mode); err == nil && !q.mode.Valid() {
			err = r.Fail(reward.ErrInvalidValue, "%q: want %q or %q", mode, reward.ModeAnswer, reward.ModeThink)
		}
	case "messages":
		err = r.Elements(func() error {
			r.Field = fmt.Sprintf("messages[%d]", q.messages)
			q.messages++
			return q.message(r, limits)
		})
	case "max_tokens", "max_completion_tokens":
		q.maxTokens, err = readInt(r, 1)
	case "n":
		var n int
		if n, err = readInt(r, 1); err == nil && n != 1 {
			err = r.Fail(reward.ErrInvalidValue, "%d: an answer has one choice", n)
		}
	case "stream", "logprobs":
		var asked bool
		if asked, err = r.Bool(); err == nil && asked {
			err = r.Fail(reward.ErrInvalidValue, "answers are whole and have no log-probs: want false")
		}
	case "tools", "functions", "modalities", "audio":
		err = r.Fail(reward.ErrInvalidValue, "the evaluator writes text alone")
	default:
		q.ignored = append(q.ignored, key)
		err = r.Skip()
	}
	return err
}

// message reads {role, content}.
func (q *chat) message(r *boundedjson.Reader, limits wire.Limits) error {
	field := r.Field
	role := ""
	err := r.Fields(func(key string) (err error) {
		r.Field = field + "." + key
		switch key {
		case "role":
			if role, err = r.Text(reward.MaxNameBytes); err == nil && role != "user" {
				err = r.Fail(reward.ErrInvalidValue, "%q: the evaluator has its own instructions and no conversation, want one message of \"user\"", role)
			}
			return err
		case "content":
			if r.Peek() == '"' {
				return q.text(r, limits)
			}
			part := 0
			return r.Elements(func() error {
				r.Field = fmt.Sprintf("%s.content[%d]", field, part)
				part++
				return q.part(r, limits)
			})
		}
		return r.Skip()
	})
	r.Field = field
	if err == nil && role == "" {
		err = r.Fail(reward.ErrMissingField, "role: required")
	}
	return err
}

func (q *chat) text(r *boundedjson.Reader, limits wire.Limits) error {
	s, err := r.Text(limits.PromptBytes)
	q.texts = append(q.texts, s)
	return err
}

// part reads {type: text, text} or {type: image_url, image_url: {url}}.
func (q *chat) part(r *boundedjson.Reader, limits wire.Limits) error {
	field := r.Field
	return r.Fields(func(key string) error {
		r.Field = field + "." + key
		switch key {
		case "type":
			kind, err := r.Text(reward.MaxNameBytes)
			if err == nil && kind != "text" && kind != "image_url" {
				err = r.Fail(reward.ErrInvalidValue, "%q: want text or image_url", kind)
			}
			return err
		case "text":
			return q.text(r, limits)
		case "image_url":
			if r.Peek() == '"' { // as some clients flatten it
				return q.url(r)
			}
			return r.Fields(func(key string) error {
				r.Field = field + ".image_url." + key
				if key == "url" {
					return q.url(r)
				}
				return r.Skip()
			})
		}
		return r.Skip()
	})
}

func (q *chat) url(r *boundedjson.Reader) (err error) {
	if q.image != nil {
		return r.Fail(reward.ErrInvalidValue, "a second image: want one")
	}
	q.image, err = r.Base64()
	if e := (*reward.Error)(nil); err != nil && !errors.As(err, &e) {
		err = r.Fail(reward.ErrInvalidValue, "want a data URI with base64, addresses are not fetched: %v", err)
	}
	return err
}

// check holds what was read against what an evaluator takes.
func (q *chat) check() error {
	switch {
	case q.messages != 1:
		return reward.ErrInvalidValue.With("messages: %d, want one of the user", q.messages)
	case q.image == nil:
		return reward.ErrMissingField.With("messages[0].content: want one image_url")
	case len(q.texts) == 0:
		return reward.ErrMissingField.With("messages[0].content: want the image's prompt as text")
	}
	return nil
}

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

// answer gives the completion. An answer is never cut: half a verdict reads like
// another one.
func (q *chat) answer(s *scoring.Scored, now time.Time) (any, error) {
	if e := s.Errors[0]; e != nil {
		return nil, e
	}
	o := &s.Outcomes[0]
	u := usage{PromptTokens: len(o.Trace.InputIDs), CompletionTokens: len(o.Trace.GeneratedIDs)}
	u.TotalTokens = u.PromptTokens + u.CompletionTokens
	if q.maxTokens > 0 && u.CompletionTokens > q.maxTokens {
		return nil, reward.ErrInvalidValue.With("max_tokens: the answer has %d tokens, more than %d, and is not cut", u.CompletionTokens, q.maxTokens)
	}
	return completion{
		ID: "chatcmpl-" + strconv.FormatInt(now.UnixNano(), 36), Object: "chat.completion", Created: now.Unix(), Model: s.Evaluator.Name,
		Choices: []choice{{
			Message:      message{Role: "assistant", Content: strings.ToValidUTF8(o.Text, "\uFFFD")},
			FinishReason: "stop",
		}},
		Usage: u,
	}, nil
}

// readInt reads an integer of at least low.
func readInt(r *boundedjson.Reader, low int) (int, error) {
	s, err := r.Number()
	if err != nil {
		return 0, err
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f != math.Trunc(f) || f < float64(low) || f > math.MaxInt32 {
		return 0, r.Fail(reward.ErrInvalidValue, "%s: want an integer of at least %d", s, low)
	}
	return int(f), nil
}
