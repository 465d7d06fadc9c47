package compat

import (
	"context"
	"net/http"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/scoring"
	"github.com/denseflow/densereward/reward/wire"
	"github.com/denseflow/densereward/reward/wire/boundedjson"
)

// flowFactory is Flow-Factory's protocol for remote reward models: its client
// (RemotePointwiseRewardModel in github.com/X-GenGroup/Flow-Factory,
// src/flow_factory/rewards/my_reward_remote.py at commit
// a0b2bc5a2b4fbf9125429b3fb70c0c5d7631047c) asks /health once and posts JSON
// with base64 images to /compute. It is answered with the rewards of the default
// evaluator, mode and weights.
func flowFactory() []Endpoint {
	return []Endpoint{{Method: http.MethodPost, Path: "/compute", Decode: decodeCompute}}
}

// computeRequest is what Flow-Factory's remote reward models post to /compute.
// Its client names the samples' fields in the singular, its example server in
// the plural; both are understood.
type computeRequest struct {
	prompts []string
	images  [][]byte // image files
	ignored []string // keys that were given and mean nothing here
}

// decodeCompute reads a body. The client repeats a refused request three times
// at once and then gives its training up, so a full queue lets it wait.
func decodeCompute(body []byte, limits wire.Limits) (*Request, error) {
	q, err := readCompute(body, limits)
	if err != nil {
		return nil, err
	}
	images := make([]scoring.Image, len(q.images))
	for i, file := range q.images {
		images[i].Encoded = file
	}
	call := Call{
		Input:   scoring.Input{Prompts: q.prompts, Images: images},
		Options: scoring.Options{Patient: true},
	}
	return &Request{
		Ignored: q.ignored,
		Answer: func(ctx context.Context, host Host) (any, error) {
			scored, err := host.Score(ctx, call)
			if err != nil {
				return nil, err
			}
			return answerCompute(scored)
		},
	}, nil
}

// answerCompute gives the rewards. The protocol has no place for the failure
// of one sample, so the first fails the request.
func answerCompute(scored *scoring.Scored) (any, error) {
	for i, e := range scored.Errors {
		if e != nil {
			return nil, e.With("image: element %d: %s", i, e.Message())
		}
	}
	return map[string][]float64{"rewards": scored.Rewards}, nil
}

// readCompute reads a computeRequest. Its files lie in body, whose base64 they
// replace.
func readCompute(body []byte, limits wire.Limits) (*computeRequest, error) {
	r := boundedjson.NewPython(body)
	q := &computeRequest{}
	err := r.Document(func(key string) error { return q.field(r, key, limits) })
	if err != nil {
		return nil, err
	}
	return q, q.check()
}

func (q *computeRequest) field(r *boundedjson.Reader, key string, limits wire.Limits) error {
	// samples reads an array of one value a sample.
	samples := func(value func() error) error {
		n := 0
		return r.Elements(func() error {
			if n++; n > limits.Samples {
				return r.Fail(reward.ErrTooManyImages, "more than %d elements", limits.Samples)
			}
			return value()
		})
	}
	switch key {
	case "prompt", "prompts":
		if q.prompts != nil {
			return r.Fail(reward.ErrMalformedBody, "prompts come twice")
		}
		q.prompts = []string{}
		return samples(func() error {
			s, err := r.Text(limits.PromptBytes)
			q.prompts = append(q.prompts, s)
			return err
		})
	case "image", "images":
		if q.images != nil {
			return r.Fail(reward.ErrMalformedBody, "images come twice")
		}
		q.images = [][]byte{}
		return samples(func() error {
			file, err := r.Base64()
			if err != nil {
				return imageError(r, err, len(q.images))
			}
			q.images = append(q.images, file)
			return nil
		})
	case "video", "videos":
		if r.Peek() != '[' {
			return r.Fail(reward.ErrInvalidValue, "want an array")
		}
		return r.Elements(func() error {
			return r.Fail(reward.ErrInvalidValue, "videos are not scored")
		})
	}
	return ignore(r, &q.ignored, key)
}

// imageError tells what is no base64 from what is no JSON.
func imageError(r *boundedjson.Reader, err error, element int) error {
	if e := reward.AsError(err, reward.ErrImageCorrupt); e.Code() != reward.ErrImageCorrupt.Code() {
		return e
	}
	return r.Fail(reward.ErrImageCorrupt, "element %d is not base64", element)
}

func (q *computeRequest) check() error {
	switch {
	case q.prompts == nil:
		return reward.ErrMissingField.With("prompt: required")
	case len(q.prompts) == 0:
		return reward.ErrInvalidValue.With("prompt: want at least one")
	case q.images == nil:
		return reward.ErrMissingField.With("image: required")
	case len(q.images) != len(q.prompts):
		return reward.ErrImageCountMismatch.With("image: %d for %d prompts", len(q.images), len(q.prompts))
	}
	return nil
}
