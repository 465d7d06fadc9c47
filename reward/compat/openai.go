package compat

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
	"github.com/denseflow/densereward/reward/wire/boundedjson"
)

// openAI is chat completions as OpenAI has them and vLLM serves them, for rewards
// that read what a model writes of an image: one message of a user with one image
// and a text, after at most one of the system. An evaluator that is a
// reward.Generator continues them as they are. Any other puts the text as the image's
// prompt into its own template, and so does one that is asked in a mode; its answer is
// never cut. What cannot be done is refused: streams, several choices, tools and
// log-probs.
func openAI(now func() time.Time) []Endpoint {
	return []Endpoint{{
		Method: http.MethodPost, Path: "/v1/chat/completions",
		Decode: func(body []byte, limits wire.Limits) (*Request, error) { return decodeChat(body, limits, now) },
	}}
}

type chat struct {
	model     string
	mode      reward.Mode // a key of this server
	messages  []turn
	maxTokens int // 0 is no limit
	stop      []string
	ignored   []string
}

type turn struct {
	role   string
	texts  []string
	before int    // of the texts: those before the image
	image  []byte // a file
}

// user is the user's message, once the request was checked.
func (q *chat) user() *turn { return &q.messages[len(q.messages)-1] }

// system is the text of the message before, "" without one.
func (q *chat) system() string {
	if len(q.messages) == 1 {
		return ""
	}
	return strings.Join(q.messages[0].texts, "")
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
		Ignored: q.ignored,
		Answer: func(ctx context.Context, host Host) (any, error) {
			about, err := host.Describe(q.model)
			if err != nil {
				return nil, err
			}
			written := q.ask
			if about.Generates && q.mode == "" {
				written = q.generate
			}
			c, err := written(ctx, host)
			if err != nil {
				return nil, err
			}
			c.Model, c.Created = about.Name, now().Unix()
			c.ID = "chatcmpl-" + strconv.FormatInt(now().UnixNano(), 36)
			return c, nil
		},
	}, nil
}

// maxStops bounds the stop texts, as OpenAI does.
const maxStops = 4

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
		err = r.Elements(func() error { return q.message(r, limits) })
	case "max_tokens", "max_completion_tokens":
		q.maxTokens, err = readInt(r, 1)
	case "stop":
		if r.SkipNull() {
			return nil
		}
		if r.Peek() == '"' {
			return q.addStop(r, limits)
		}
		err = r.Elements(func() error { return q.addStop(r, limits) })
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

func (q *chat) addStop(r *boundedjson.Reader, limits wire.Limits) error {
	s, err := r.Text(limits.NameBytes)
	if err == nil && (s == "" || len(q.stop) == maxStops) {
		err = r.Fail(reward.ErrInvalidValue, "want at most %d texts, none of them empty", maxStops)
	}
	q.stop = append(q.stop, s)
	return err
}

// message reads {role, content}.
func (q *chat) message(r *boundedjson.Reader, limits wire.Limits) (err error) {
	field := fmt.Sprintf("messages[%d]", len(q.messages))
	r.Field = field
	if len(q.messages) == maxTurns {
		return r.Fail(reward.ErrInvalidValue, "more than %d messages", maxTurns)
	}
	m := turn{}
	err = r.Fields(func(key string) (err error) {
		r.Field = field + "." + key
		switch key {
		case "role":
			m.role, err = r.Text(reward.MaxNameBytes)
			return err
		case "content":
			if r.Peek() == '"' {
				return m.text(r, limits)
			}
			part := 0
			return r.Elements(func() error {
				r.Field = fmt.Sprintf("%s.content[%d]", field, part)
				part++
				return m.part(r, limits)
			})
		}
		return r.Skip()
	})
	r.Field = field
	if err == nil && m.role == "" {
		err = r.Fail(reward.ErrMissingField, "role: required")
	}
	q.messages = append(q.messages, m)
	return err
}

func (m *turn) text(r *boundedjson.Reader, limits wire.Limits) error {
	s, err := r.Text(limits.PromptBytes)
	m.texts = append(m.texts, s)
	if m.image == nil {
		m.before++
	}
	return err
}

// part reads {type: text, text} or {type: image_url, image_url: {url}}.
func (m *turn) part(r *boundedjson.Reader, limits wire.Limits) error {
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
			return m.text(r, limits)
		case "image_url":
			if r.Peek() == '"' { // as some clients flatten it
				return m.url(r)
			}
			return r.Fields(func(key string) error {
				r.Field = field + ".image_url." + key
				if key == "url" {
					return m.url(r)
				}
				return r.Skip()
			})
		}
		return r.Skip()
	})
}

func (m *turn) url(r *boundedjson.Reader) (err error) {
	if m.image != nil {
		return r.Fail(reward.ErrInvalidValue, "a second image: want one")
	}
	m.image, err = r.Base64()
	if e := (*reward.Error)(nil); err != nil && !errors.As(err, &e) {
		err = r.Fail(reward.ErrInvalidValue, "want a data URI with base64, addresses are not fetched: %v", err)
	}
	return err
}

// check fails unless there is a message of the user with an image, and before it at most
// one of the system.
func (q *chat) check() error {
	for i, m := range q.messages {
		last := i == len(q.messages)-1
		system := m.role == "system" || m.role == "developer"
		switch {
		case m.role != "user" && (!system || last):
			return noConversation(i, m.role)
		case !last && (!system || i > 0):
			return reward.ErrInvalidValue.With("messages: %d, want one of the user", len(q.messages))
		case !last && m.image != nil:
			return reward.ErrInvalidValue.With("messages[%d].content: an image, which is the user's to show", i)
		}
	}
	switch n := len(q.messages) - 1; {
	case n < 0:
		return reward.ErrInvalidValue.With("messages: 0, want one of the user")
	case q.user().image == nil:
		return reward.ErrMissingField.With("messages[%d].content: want one image_url", n)
	}
	return nil
}

func noConversation(i int, role string) error {
	return reward.ErrInvalidValue.With("messages[%d].role: %q: the evaluator has its own instructions and no conversation, want one message of \"user\"", i, role)
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
