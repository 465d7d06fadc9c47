package server

import (
	"encoding/base64"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
)

// computeRequest is what Flow-Factory's remote reward models post to /compute.
// Its client names the samples' fields in the singular, its example server in
// the plural; both are understood.
type computeRequest struct {
	prompts []string
	images  [][]byte // image files
	ignored []string // keys that were given and mean nothing here
}

// decodeCompute reads a computeRequest. Its files lie in body, whose base64
// they replace. Every error is an *reward.Error.
func decodeCompute(body []byte, limits wire.Limits) (*computeRequest, error) {
	r := &jsonReader{text: body}
	q := &computeRequest{}
	err := r.object(func(key string) error {
		r.field = key
		defer func() { r.field = "" }()
		if r.word("null") {
			return nil
		}
		return r.computeField(q, key, limits)
	})
	if err == nil {
		err = r.end()
	}
	if err != nil {
		return nil, err
	}
	return q, q.check()
}

func (r *jsonReader) computeField(q *computeRequest, key string, limits wire.Limits) error {
	// samples reads an array of one value a sample.
	samples := func(value func() error) error {
		n := 0
		return r.list('[', ']', func() error {
			if n++; n > limits.Samples {
				return r.fail(reward.ErrTooManyImages, "more than %d elements", limits.Samples)
			}
			return value()
		})
	}
	switch key {
	case "prompt", "prompts":
		if q.prompts != nil {
			return r.fail(reward.ErrMalformedBody, "prompts come twice")
		}
		q.prompts = []string{}
		return samples(func() error {
			s, err := r.string(limits.PromptBytes)
			q.prompts = append(q.prompts, s)
			return err
		})
	case "image", "images":
		if q.images != nil {
			return r.fail(reward.ErrMalformedBody, "images come twice")
		}
		q.images = [][]byte{}
		return samples(func() error {
			text, err := r.raw()
			if err != nil {
				return err
			}
			file, err := decodeBase64(text)
			if err != nil {
				return r.fail(reward.ErrImageCorrupt, "element %d is not base64", len(q.images))
			}
			q.images = append(q.images, file)
			return nil
		})
	case "video", "videos":
		if r.next() != '[' {
			return r.fail(reward.ErrInvalidValue, "want an array")
		}
		return r.list('[', ']', func() error {
			return r.fail(reward.ErrInvalidValue, "videos are not scored")
		})
	}
	q.ignored = append(q.ignored, key)
	return r.skip(0)
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

// base64Block is what is decoded at a time, a multiple of four.
const base64Block = 4096

// decodeBase64 decodes text, a string of JSON, into its own memory.
func decodeBase64(text []byte) ([]byte, error) {
	text = unescapeSlashes(text)
	var block [base64Block / 4 * 3]byte
	n := 0
	for at := 0; at < len(text); at += base64Block {
		m, err := base64.StdEncoding.Strict().Decode(block[:], text[at:min(at+base64Block, len(text))])
		if err != nil {
			return nil, err
		}
		n += copy(text[n:], block[:m]) // never past what was read
	}
	return text[:n:n], nil
}

// unescapeSlashes drops the backslashes that some encoders put before slashes.
// Any other escape stays, and is no base64.
func unescapeSlashes(text []byte) []byte {
	n := 0
	for i, c := range text {
		if c == '\\' && i+1 < len(text) && text[i+1] == '/' {
			continue
		}
		if n != i {
			text[n] = c
		}
		n++
	}
	return text[:n]
}
