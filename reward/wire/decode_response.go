package wire

import (
	"math"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire/bounded"
)

// maxResponseElements bounds each array of a response, so that a body of nils
// cannot take many times its size.
const maxResponseElements = 1 << 20

// DecodeResponse reads a Response. Tensors alias body, which the caller gives
// up. A key that this version does not know is passed over, so that an older
// client can talk to a newer server. What is wrong with the part of one sample is an
// ErrEvaluatorFailed of that sample, whose numbers are then NaN: its neighbours keep
// theirs.
func DecodeResponse(body []byte) (*Response, error) {
	r := &responseReader{reader: newReader(body), bad: map[int]error{}}
	p := &Response{}
	err := r.Fields(func(key string) (bool, error) {
		known, err := r.field(p, key)
		if !known && err == nil {
			return true, r.Skip()
		}
		return true, err
	})
	if err != nil {
		return nil, err
	}
	if err := r.End(); err != nil {
		return nil, err
	}
	if err := p.check(); err != nil {
		return p, err
	}
	p.fail(r.bad)
	return p, nil
}

func (r *responseReader) field(p *Response, key string) (known bool, err error) {
	switch key {
	case "rewards":
		p.Rewards, err = r.numbers()
	case "scores":
		p.Scores, err = r.scores()
	case "missing":
		p.Missing, err = samples(r, r.missing)
	case "errors":
		p.Errors, err = samples(r, r.sampleError)
	case "cached":
		p.Cached, err = samples(r, r.Bool)
	case "dense":
		p.Dense, err = r.denseMaps()
	case "advantages":
		p.Advantages, p.AdvantageMaps, err = r.tensors()
	case "heatmaps":
		p.Heatmaps, err = r.heatmaps()
	case "texts":
		p.Texts, err = samples(r, func() (string, error) { return r.Text(math.MaxInt) })
	case "boxes":
		p.Boxes, err = samples(r, r.boxes)
	case "ranks":
		p.Ranks, err = samples(r, func() (int, error) { return r.Int(0, maxResponseElements) })
	case "images":
		p.Images, err = samples(r, r.Bin)
	case "evaluator":
		p.Evaluator, err = r.Text(math.MaxInt)
	case "model":
		p.Model, err = r.Text(math.MaxInt)
	case "resize":
		p.Resize, err = r.Text(math.MaxInt)
	case "warnings":
		p.Warnings, err = list(r.reader, func() (string, error) { return r.Text(math.MaxInt) })
	case "timing_ms":
		p.TimingMS, err = r.timing()
	default:
		return false, nil
	}
	return true, err
}

// list reads an array of what element reads; it is never nil.
func list[T any](r *reader, element func() (T, error)) ([]T, error) {
	all := []T{}
	err := r.Elements(maxResponseElements, func(int) error {
		one, err := element()
		all = append(all, one)
		return err
	})
	return all, err
}

func (r *reader) timing() (map[string]float64, error) {
	stages := map[string]float64{}
	err := r.Fields(func(stage string) (known bool, err error) {
		stages[stage], err = r.Float()
		return true, err
	})
	return stages, err
}

// numbers reads a tensor (N) of floats.
func (r *reader) numbers() ([]float64, error) {
	t, err := r.Tensor()
	if err != nil {
		return nil, err
	}
	if len(t.Shape) != 1 {
		return nil, r.Fail(reward.ErrInvalidValue, "shape %v: want (N)", t.Shape)
	}
	return t.Float64s()
}

func (r *reader) scores() ([]NamedScores, error) {
	scores := []NamedScores{}
	err := r.Fields(func(key string) (bool, error) {
		values, err := r.numbers()
		scores = append(scores, NamedScores{key, values})
		return true, err
	})
	return scores, err
}

func (r *reader) missing() ([]string, error) {
	names := []string{}
	err := r.Elements(2*bounded.MaxKeys, func(int) error {
		name, err := r.Text(bounded.MaxKeyBytes)
		names = append(names, name)
		return err
	})
	return names, err
}

// sampleError reads nil or {code, message}.
func (r *reader) sampleError() (*reward.Error, error) {
	if absent, err := r.SkipNil(); absent || err != nil {
		return nil, err
	}
	return r.failure(reward.ErrInternal.Status())
}

// failure reads {code, message}.
func (r *reader) failure(status int) (*reward.Error, error) {
	var code, message string
	err := r.Fields(func(key string) (known bool, err error) {
		switch key {
		case "code":
			code, err = r.Text(bounded.MaxKeyBytes)
		case "message":
			message, err = r.Text(math.MaxInt)
		default:
			err = r.Skip()
		}
		return true, err
	})
	if err == nil && code == "" {
		err = r.Fail(reward.ErrMissingField, "an error needs a code")
	}
	if err != nil {
		return nil, err
	}
	return reward.ErrorByCode(code, status, message), nil
}

// DecodeError reads the error in the body of a response with an HTTP status.
func DecodeError(body []byte, status int) (*reward.Error, error) {
	r := newReader(body)
	e, err := r.failure(status)
	if err != nil {
		return nil, err
	}
	return e, r.End()
}

func (r *responseReader) denseMaps() (*DenseMaps, error) {
	d := &DenseMaps{}
	err := r.Fields(func(key string) (known bool, err error) {
		switch key {
		case "grid":
			err = r.Elements(2, func(i int) error {
				n, err := r.Int(1, math.MaxInt32)
				if i == 0 {
					d.Height = n
				} else {
					d.Width = n
				}
				return err
			})
		case "weight":
			d.Weight, d.Weights, err = r.tensors()
		case "reward":
			d.Reward, d.Rewards, err = r.tensors()
		default:
			err = r.Skip()
		}
		return true, err
	})
	one := d.Width > 0 && d.Weight != nil && d.Reward != nil
	if err == nil && !one && (d.Weights == nil || d.Rewards == nil) {
		err = r.Fail(reward.ErrMissingField, "want grid, weight and reward")
	}
	return d, err
}

// tensors reads one tensor, or an array of one a sample.
func (r *responseReader) tensors() (one *reward.Tensor, each []*reward.Tensor, err error) {
	if err := r.Expect(bounded.KindMap, bounded.KindArray); err != nil {
		return nil, nil, err
	}
	if k, _ := r.Peek(); k == bounded.KindArray {
		each, err = samples(r, r.sampleMap)
		return nil, each, err
	}
	one, err = r.Tensor()
	return one, nil, err
}

func (r *responseReader) heatmaps() ([]NamedMaps, error) {
	maps := []NamedMaps{}
	err := r.Fields(func(key string) (bool, error) {
		one, each, err := r.tensors()
		maps = append(maps, NamedMaps{key, one, each})
		return true, err
	})
	return maps, err
}

func (r *reader) boxes() ([]reward.Box, error) { return list(r, r.box) }

func (r *reader) box() (b reward.Box, err error) {
	err = r.Fields(func(key string) (known bool, err error) {
		switch key {
		case "box":
			err = r.Elements(len(b.Coords), func(i int) (err error) {
				b.Coords[i], err = r.Float()
				return err
			})
		case "label":
			b.Label, err = r.Text(math.MaxInt)
		case "importance":
			b.Importance, err = r.Float()
		default:
			err = r.Skip()
		}
		return true, err
	})
	return b, err
}

// sampleMap reads a map of one sample, float32 (h,w).
func (r *responseReader) sampleMap() (*reward.Tensor, error) {
	t, err := r.Tensor()
	if err == nil && (len(t.Shape) != 2 || t.Type != reward.Float32) {
		err = r.Fail(reward.ErrInvalidValue, "%s %v: want %s (h,w)", t.Type, t.Shape, reward.Float32)
	}
	if err != nil {
		return reward.Float32Tensor(nil, 0, 0), err
	}
	return t, nil
}

// check fails unless the parts of a response are there and agree in number.
func (p *Response) check() error {
	n := len(p.Rewards)
	if p.Rewards == nil {
		return reward.ErrMissingField.With("rewards: required")
	}
	if p.Scores == nil {
		return reward.ErrMissingField.With("scores: required")
	}
	for _, s := range p.Scores {
		if len(s.Values) != n {
			return reward.ErrImageCountMismatch.With("scores.%s: %d for %d rewards", s.Name, len(s.Values), n)
		}
	}
	counts := []struct {
		field   string
		present bool
		n       int
	}{
		{"missing", true, len(p.Missing)},
		{"errors", true, len(p.Errors)},
		{"cached", p.Cached != nil, len(p.Cached)},
		{"texts", p.Texts != nil, len(p.Texts)},
		{"boxes", p.Boxes != nil, len(p.Boxes)},
		{"images", p.Images != nil, len(p.Images)},
		{"ranks", p.Ranks != nil, len(p.Ranks)},
	}
	for _, c := range counts {
		if c.present && c.n != n {
			return reward.ErrImageCountMismatch.With("%s: %d for %d rewards", c.field, c.n, n)
		}
	}
	return p.checkMaps(n)
}

// mapField is a field of maps: one tensor, or one a sample.
type mapField struct {
	name string
	one  *reward.Tensor
	each []*reward.Tensor
}

// checkMaps fails unless each field of maps is a float32 tensor (N,h,w), or N of
// (h,w); advantages may be floats (N).
func (p *Response) checkMaps(n int) error {
	if a := p.Advantages; a != nil && len(a.Shape) == 1 && a.Shape[0] != n {
		return reward.ErrImageCountMismatch.With("advantages: %d for %d rewards", a.Shape[0], n)
	}
	for _, f := range p.mapFields() {
		if err := f.check(n); err != nil {
			return err
		}
	}
	return nil
}

// mapFields are the response's fields of maps.
func (p *Response) mapFields() []mapField {
	var fields []mapField
	if d := p.Dense; d != nil {
		fields = append(fields, mapField{"dense.weight", d.Weight, d.Weights}, mapField{"dense.reward", d.Reward, d.Rewards})
	}
	for _, h := range p.Heatmaps {
		fields = append(fields, mapField{"heatmaps." + h.Name, h.Maps, h.Each})
	}
	if a := p.Advantages; p.AdvantageMaps != nil || a != nil && len(a.Shape) != 1 {
		fields = append(fields, mapField{"advantages", a, p.AdvantageMaps})
	}
	return fields
}

func (f *mapField) check(n int) error {
	if t := f.one; t != nil {
		if len(t.Shape) != 3 || t.Shape[0] != n || t.Type != reward.Float32 {
			return reward.ErrInvalidValue.With("%s: %s %v: want %s (%d,h,w)", f.name, t.Type, t.Shape, reward.Float32, n)
		}
		return nil
	}
	if len(f.each) != n {
		return reward.ErrImageCountMismatch.With("%s: %d for %d rewards", f.name, len(f.each), n)
	}
	return nil
}
