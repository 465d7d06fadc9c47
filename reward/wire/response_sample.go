package wire

import (
	"encoding/binary"
	"math"

	"github.com/denseflow/densereward/reward"
)

// responseReader reads a Response whose samples may be wrong one by one.
type responseReader struct {
	*reader
	bad map[int]error // the first thing that is wrong with each sample
}

// maxBadSamples bounds what is remembered of answers that are wrong throughout. Such
// an answer is none.
const maxBadSamples = 4096

// samples reads an array with an element a sample. An element that is a value of
// msgpack and not what element reads is passed over: it is what element makes of it
// until the sample fails.
func samples[T any](r *responseReader, element func() (T, error)) ([]T, error) {
	all := []T{}
	err := r.Elements(maxResponseElements, func(i int) error {
		start := r.Mark()
		one, err := element()
		all = append(all, one)
		if err == nil || len(r.bad) == maxBadSamples {
			return err
		}
		if r.bad[i] == nil {
			r.bad[i] = err
		}
		r.Rewind(start)
		return r.Skip()
	})
	return all, err
}

// fail makes the samples of bad failures, and those that have no error and yet a number
// that is not finite. p has passed check.
func (p *Response) fail(bad map[int]error) {
	for i := range p.Rewards {
		if p.Errors[i] != nil {
			continue
		}
		err := bad[i]
		if err == nil {
			err = p.checkFinite(i)
		}
		if err != nil {
			p.Errors[i] = reward.ErrEvaluatorFailed.With("the server's answer is wrong for this sample: %s", reward.AsError(err, reward.ErrInvalidValue).Message())
			p.clear(i)
		}
	}
}

func (p *Response) checkFinite(i int) error {
	for _, s := range p.Scores {
		if v := s.Values[i]; math.IsNaN(v) || math.IsInf(v, 0) {
			return reward.ErrNotFinite.With("scores.%s[%d]: %v is not finite", s.Name, i, v)
		}
	}
	if v := p.Rewards[i]; math.IsNaN(v) || math.IsInf(v, 0) {
		return reward.ErrNotFinite.With("rewards[%d]: %v is not finite", i, v)
	}
	return nil
}

// clear leaves of sample i what a failed one has.
func (p *Response) clear(i int) {
	p.Rewards[i] = math.NaN()
	for _, s := range p.Scores {
		s.Values[i] = math.NaN()
	}
	for _, f := range p.mapFields() {
		if f.one != nil {
			fillNaN(f.one.Part(i, i+1))
		} else {
			fillNaN(f.each[i])
		}
	}
	if a := p.Advantages; a != nil && len(a.Shape) == 1 {
		fillNaN(a.Part(i, i+1))
	}
	p.Missing[i] = []string{}
	if p.Texts != nil {
		p.Texts[i] = ""
	}
	if p.Boxes != nil {
		p.Boxes[i] = nil
	}
}

// fillNaN overwrites a tensor of floats.
func fillNaN(t *reward.Tensor) {
	switch size := t.Type.Size(); t.Type {
	case reward.Float32:
		for at := 0; at < len(t.Data); at += size {
			binary.LittleEndian.PutUint32(t.Data[at:], math.Float32bits(float32(math.NaN())))
		}
	case reward.Float64:
		for at := 0; at < len(t.Data); at += size {
			binary.LittleEndian.PutUint64(t.Data[at:], math.Float64bits(math.NaN()))
		}
	}
}
