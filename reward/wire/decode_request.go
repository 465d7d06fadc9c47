package wire

import (
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire/bounded"
)

// reader reads the values of the protocol.
type reader struct{ *bounded.Reader }

func newReader(body []byte) *reader { return &reader{bounded.New(body)} }

// DecodeRequest reads a Request from a body. Nothing is allocated for a length
// that the body does not hold or the limits do not allow, and the data of
// images and tensors alias body. Every error is an *Error that names the
// field; the caller has checked len(body) against limits.BodyBytes.
//
// A request that DecodeRequest returns is complete: its fields agree in number
// and its names are those of the protocol. What the evaluator, the decoder or
// the images' own bytes may still refuse comes later.
func DecodeRequest(body []byte, limits Limits) (*Request, error) {
	r := newReader(body)
	q := &Request{}
	err := r.Fields(func(key string) (bool, error) {
		if absent, err := r.SkipNil(); absent || err != nil {
			return knownRequestKey(key), err
		}
		return r.requestField(q, key, limits)
	})
	if err != nil {
		return nil, err
	}
	if err := r.End(); err != nil {
		return nil, err
	}
	if err := q.check(limits); err != nil {
		return nil, err
	}
	return q, nil
}

func knownRequestKey(key string) bool {
	switch key {
	case "prompts", "images", "latents", "vae", "mode", "grid", "groups", "advantage", "weights", "return", "evaluator", "metadata", "missing", "clamp", "rank":
		return true
	}
	return false
}

func (r *reader) requestField(q *Request, key string, limits Limits) (known bool, err error) {
	switch key {
	case "prompts":
		q.Prompts, err = r.prompts(limits)
	case "images":
		q.Images, err = r.images(limits)
	case "latents":
		q.Latents, err = r.Tensor()
	case "vae":
		q.VAE, err = r.Text(limits.NameBytes)
	case "mode":
		q.Mode, err = r.mode()
	case "grid":
		q.Grid, err = r.grid(limits)
	case "groups":
		q.Groups, err = r.groups(limits)
	case "advantage":
		q.Advantage, err = r.advantage()
	case "weights":
		q.Weights, err = r.weights()
	case "return":
		q.Return, err = r.returns()
	case "evaluator":
		q.Evaluator, err = r.Text(limits.NameBytes)
	case "missing":
		q.Missing, err = r.missingPolicy()
	case "clamp":
		q.Clamp, err = r.Bool()
	case "metadata":
		q.Metadata, err = r.metadata(limits)
	case "rank":
		q.Rank, err = r.Bool()
	default:
		return false, nil
	}
	return true, err
}

// samples reads the head of an array that has one element a sample and fails
// past the limit on samples.
func (r *reader) samples(limits Limits) (int, error) {
	n, err := r.ArrayLen()
	if err == nil && n > limits.Samples {
		err = r.Fail(reward.ErrTooManyImages, "%d elements, limit %d", n, limits.Samples)
	}
	return n, err
}

func (r *reader) prompts(limits Limits) ([]string, error) {
	n, err := r.samples(limits)
	if err != nil {
		return nil, err
	}
	return r.texts(n, limits.PromptBytes)
}

func (r *reader) texts(n, limit int) ([]string, error) {
	texts := make([]string, n)
	for i := range texts {
		r.PushIndex(i)
		t, err := r.Text(limit)
		r.Pop()
		if err != nil {
			return nil, err
		}
		texts[i] = t
	}
	return texts, nil
}

// images reads an array of files and tensors, or one tensor of all.
func (r *reader) images(limits Limits) ([]Image, error) {
	if err := r.Expect(bounded.KindArray, bounded.KindMap); err != nil {
		return nil, err
	}
	if k, _ := r.Peek(); k == bounded.KindMap {
		return r.imageBatch(limits)
	}
	n, err := r.samples(limits)
	if err != nil {
		return nil, err
	}
	images := make([]Image, n)
	for i := range images {
		r.PushIndex(i)
		err := r.image(&images[i])
		r.Pop()
		if err != nil {
			return nil, err
		}
	}
	return images, nil
}

func (r *reader) imageBatch(limits Limits) ([]Image, error) {
	t, err := r.Tensor()
	if err != nil {
		return nil, err
	}
	if len(t.Shape) > 0 && t.Shape[0] > limits.Samples {
		return nil, r.Fail(reward.ErrTooManyImages, "%d images, limit %d", t.Shape[0], limits.Samples)
	}
	if err := r.imageTensor(t, 4); err != nil {
		return nil, err
	}
	return SplitImages(t)
}

func (r *reader) image(p *Image) (err error) {
	if err := r.Expect(bounded.KindBin, bounded.KindMap); err != nil {
		return err
	}
	if k, _ := r.Peek(); k == bounded.KindBin {
		p.Encoded, err = r.Bin()
		return err
	}
	if p.Tensor, err = r.Tensor(); err != nil {
		return err
	}
	return r.imageTensor(p.Tensor, 3)
}

// imageTensor checks the type and shape of one image (rank 3) or many (4).
func (r *reader) imageTensor(t *reward.Tensor, rank int) error {
	switch t.Type {
	case reward.Uint8, reward.Float16, reward.BFloat16, reward.Float32:
	default:
		return r.Fail(reward.ErrUnsupportedDType, "type %s: want uint8, float16, bfloat16 or float32", t.Type)
	}
	s := t.Shape
	if len(s) != rank || (s[rank-1] != 3 && s[rank-3] != 3) || len(t.Data) == 0 {
		want := "(h,w,3) or (3,h,w)"
		if rank == 4 {
			want = "(N,h,w,3) or (N,3,h,w)"
		}
		return r.Fail(reward.ErrInvalidValue, "shape %v: want %s", s, want)
	}
	return nil
}
