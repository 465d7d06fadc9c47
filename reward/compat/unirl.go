package compat

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/scoring"
	"github.com/denseflow/densereward/reward/wire"
	"github.com/denseflow/densereward/reward/wire/boundedjson"
)

// unirl is the reward service's protocol of UniRL: its client (RemoteRewardBackend
// in github.com/Tencent-Hunyuan/UniRL, unirl/reward/remote.py at commit
// 1a7b501e8fe8517b432a130220d2ff462f9b5afa) looks at /health once for the rewards
// that it was told to ask for, and posts JSON with base64 images to /score. A
// reward is an evaluator; its first metric, which the client takes by default, is
// the reward with the default weights, the scores follow.
//
// That client makes 0.0 of a sample's error and goes on, so the first failure fails
// the request unless sampleErrors asks for errors by sample.
func unirl(sampleErrors bool) []Endpoint {
	return []Endpoint{
		{
			Method: http.MethodGet, Path: "/rewards",
			Describe: func(evaluators []reward.Description) any {
				names := make([]string, len(evaluators))
				for i := range evaluators {
					names[i] = evaluators[i].Name
				}
				return map[string][]string{"rewards": names}
			},
		},
		{
			Method: http.MethodPost, Path: "/score",
			Decode: func(body []byte, limits wire.Limits) (*Request, error) {
				return decodeUniRL(body, limits, sampleErrors)
			},
		},
	}
}

// uniRLTurn is one image of a conversation with what was said to it.
type uniRLTurn struct {
	text  string
	image []byte // a file
}

// uniRLSample is one element of a request.
type uniRLSample struct {
	history  []uniRLTurn
	rewards  []string
	metadata map[string]any
}

// maxTurns bounds a sample's history.
const maxTurns = 16

// historyKey is where evaluators find the turns before the last.
const historyKey = "history"

// decodeUniRL makes a call of each reward that any sample asks for.
func decodeUniRL(body []byte, limits wire.Limits, sampleErrors bool) (*Request, error) {
	r := boundedjson.NewPython(body)
	q := &Request{}
	var samples []uniRLSample
	given := false
	err := r.Fields(func(key string) error {
		if key != "requests" {
			return ignore(r, &q.Ignored, key)
		}
		given = true
		return r.Elements(func() error {
			i := len(samples)
			r.Field = fmt.Sprintf("requests[%d]", i)
			if i == limits.Samples {
				return r.Fail(reward.ErrTooManyImages, "more than %d elements", limits.Samples)
			}
			s, err := readUniRLSample(r, limits)
			samples = append(samples, s)
			return err
		})
	})
	if err == nil {
		err = r.End()
	}
	if err != nil {
		return nil, err
	}
	if !given {
		return nil, reward.ErrMissingField.With("requests: required")
	}
	answer := uniRLAnswer{n: len(samples), sampleErrors: sampleErrors}
	for i := range samples {
		answer.add(i, &samples[i])
	}
	q.Answer = answer.answer
	return q, nil
}

func readUniRLSample(r *boundedjson.Reader, limits wire.Limits) (s uniRLSample, err error) {
	field := r.Field
	defer func() { r.Field = field }()
	err = r.Fields(func(key string) error {
		r.Field = field + "." + key
		switch key {
		case "history":
			return r.Elements(func() error {
				r.Field = fmt.Sprintf("%s.history[%d]", field, len(s.history))
				if len(s.history) == maxTurns {
					return r.Fail(reward.ErrInvalidValue, "more than %d turns", maxTurns)
				}
				turn, err := readUniRLTurn(r, limits)
				s.history = append(s.history, turn)
				return err
			})
		case "required_rewards":
			return r.Elements(func() error {
				name, err := r.Text(limits.NameBytes)
				if len(s.rewards) == reward.MaxNames {
					return r.Fail(reward.ErrInvalidValue, "more than %d names", reward.MaxNames)
				}
				if !slices.Contains(s.rewards, name) {
					s.rewards = append(s.rewards, name)
				}
				return err
			})
		case "metadata":
			if r.SkipNull() {
				return nil
			}
			m := metadataReader{r: r, limit: limits.MetadataBytes}
			s.metadata, err = m.object(wire.MetadataDepth)
			return err
		}
		return r.Fail(reward.ErrUnknownField, "not a key of a request")
	})
	r.Field = field
	switch {
	case err != nil:
	case len(s.history) == 0:
		err = r.Fail(reward.ErrMissingField, "history: want at least one turn")
	case len(s.rewards) == 0:
		err = r.Fail(reward.ErrMissingField, "required_rewards: want at least one")
	case len(s.history) > 1 && s.metadata[historyKey] != nil:
		err = r.Fail(reward.ErrInvalidValue, "metadata.%s: that is what the turns before the last become", historyKey)
	}
	return s, err
}

func readUniRLTurn(r *boundedjson.Reader, limits wire.Limits) (turn uniRLTurn, err error) {
	field := r.Field
	texts := false
	err = r.Fields(func(key string) (err error) {
		r.Field = field + "." + key
		switch {
		case key == "text":
			texts = true
			turn.text, err = r.Text(limits.PromptBytes)
		case r.SkipNull():
		case key == "image_b64":
			turn.image, err = readBase64(r)
		case key == "video_b64" || key == "video_path":
			err = r.Fail(reward.ErrInvalidValue, "videos are not scored")
		default:
			err = r.Fail(reward.ErrUnknownField, "not a key of a turn")
		}
		return err
	})
	r.Field = field
	if err == nil && (!texts || turn.image == nil) {
		err = r.Fail(reward.ErrMissingField, "a turn needs text and image_b64")
	}
	return turn, err
}

// uniRLAnswer knows which samples are in which call.
type uniRLAnswer struct {
	n            int
	sampleErrors bool
	calls        []Call  // of each reward
	samples      [][]int // of each call: its samples
}

// add puts a sample into the calls of its rewards. The last turn is what is scored;
// those before, an edited image's source among them, are the metadata "history".
func (a *uniRLAnswer) add(i int, s *uniRLSample) {
	last := s.history[len(s.history)-1]
	if len(s.history) > 1 {
		before := make([]any, len(s.history)-1)
		for k, turn := range s.history[:len(before)] {
			before[k] = map[string]any{"text": turn.text, "image": turn.image}
		}
		if s.metadata == nil {
			s.metadata = map[string]any{}
		}
		s.metadata[historyKey] = before
	}
	for _, name := range s.rewards {
		k := slices.IndexFunc(a.calls, func(c Call) bool { return c.Evaluator == name })
		if k < 0 {
			k = len(a.calls)
			a.calls, a.samples = append(a.calls, Call{Evaluator: name, Options: scoring.Options{Patient: true}}), append(a.samples, nil)
		}
		a.samples[k] = append(a.samples[k], i)
		in := &a.calls[k].Input
		in.Prompts = append(in.Prompts, last.text)
		in.Images = append(in.Images, scoring.Image{Encoded: last.image})
		in.Metadata = append(in.Metadata, s.metadata)
	}
}

// answer gives {results, errors}: of each sample the metrics by reward, and the
// failures by reward.
func (a *uniRLAnswer) answer(ctx context.Context, host Host) (any, error) {
	scored := make([]*scoring.Scored, len(a.calls))
	for k, call := range a.calls {
		var err error
		if scored[k], err = host.Score(ctx, call); err != nil {
			return nil, err
		}
	}
	results := make([]ordered, a.n)
	errs := make([]map[string]string, a.n)
	for i := range results {
		results[i], errs[i] = ordered{}, map[string]string{}
	}
	for k, s := range scored {
		name := a.calls[k].Evaluator
		for at, i := range a.samples[k] {
			if e := s.Errors[at]; e != nil {
				if !a.sampleErrors {
					return nil, e.With("requests[%d]: %s: %s", i, name, e.Message())
				}
				errs[i][name] = e.Error()
				continue
			}
			metrics := ordered{{"reward", s.Rewards[at]}}
			for m, spec := range s.Evaluator.Scores {
				metrics = append(metrics, entry{spec.Name, s.Outcomes[at].Scores[m]})
			}
			results[i] = append(results[i], entry{name, metrics})
		}
	}
	return map[string]any{"results": results, "errors": errs}, nil
}

// ordered is an object that keeps the order of its keys.
type ordered []entry

type entry struct {
	key   string
	value any
}

func (o ordered) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, e := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(e.key)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(e.value)
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}
