package jsonwire

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strconv"

	"github.com/vmihailenco/msgpack/v5/msgpcode"

	"github.com/denseflow/densereward/reward"
)

// errNotSent is the result of a key that is no part of the message.
var errNotSent = errors.New("jsonwire: a key of JSON alone")

// maxListed bounds the numbers of a request that come as nested arrays; four
// images of 512x512 fit, and what is larger travels better as base64.
const maxListed = 4 << 20

// list is a tensor as nested arrays.
type list struct {
	shape  []int
	values []float32
}

// tensor translates {dtype, shape, data}, data in base64 or as nested arrays, whose
// shape may then be left out.
func (t *translator) tensor() error {
	var (
		kind   reward.DType
		shape  []int
		data   []byte
		listed *list
	)
	err := t.r.Fields(func(key string) (err error) {
		switch key {
		case "dtype":
			var name string
			name, err = t.r.Text(reward.MaxNameBytes)
			kind = dtype(name)
		case "shape":
			shape, err = t.shape()
		case "data":
			if t.r.Peek() == '[' {
				listed = &list{}
				return t.list(listed, 0)
			}
			data, err = t.decodeBase64()
		default:
			err = t.r.Fail(reward.ErrUnknownField, "unknown key %q of a tensor: want dtype, shape and data", key)
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case kind == "" || (data == nil && listed == nil) || (shape == nil && listed == nil):
		return t.r.Fail(reward.ErrMissingField, "a tensor needs dtype, shape and data")
	case listed != nil && shape != nil && !slices.Equal(shape, listed.shape):
		return t.r.Fail(reward.ErrInvalidValue, "shape %v, and data of shape %v", shape, listed.shape)
	case listed != nil:
		shape = listed.shape
		if data, err = t.encode(listed.values, kind); err != nil {
			return err
		}
	}
	t.nd(kind, shape, data)
	return nil
}

// nd writes a tensor as msgpack-numpy does.
func (t *translator) nd(kind reward.DType, shape []int, data []byte) {
	t.out = append(t.out, msgpcode.FixedMapLow|4)
	t.text("nd")
	t.out = append(t.out, msgpcode.True)
	t.text("type")
	t.text(string(kind))
	t.text("shape")
	t.out = append(t.out, msgpcode.FixedArrayLow|byte(len(shape)))
	for _, d := range shape {
		t.int(int64(d))
	}
	t.text("data")
	t.bin(data)
}

func (t *translator) shape() ([]int, error) {
	shape := []int{}
	err := t.r.Elements(func() error {
		s, err := t.r.Number()
		if err != nil {
			return err
		}
		d, err := strconv.ParseFloat(s, 64) // 2.0 is an integer
		if err != nil || d < 0 || d > math.MaxInt32 || d != math.Trunc(d) || len(shape) == reward.MaxRank {
			return t.r.Fail(reward.ErrInvalidValue, "shape: want at most %d integers of at least 0, got %s", reward.MaxRank, s)
		}
		shape = append(shape, int(d))
		return nil
	})
	return shape, err
}

// list reads nested arrays of numbers, of equal lengths at each depth.
func (t *translator) list(l *list, depth int) error {
	if depth == reward.MaxRank {
		return t.r.Fail(reward.ErrInvalidValue, "data has more than %d dimensions", reward.MaxRank)
	}
	first := len(l.shape) == depth
	if first {
		l.shape = append(l.shape, 0)
	}
	n := 0
	err := t.r.Elements(func() error {
		n++
		leaf := t.r.Peek() != '['
		if (leaf && depth != len(l.shape)-1) || (!leaf && depth == len(l.shape)-1 && (!first || n > 1)) {
			return t.r.Fail(reward.ErrInvalidValue, "data: arrays and numbers side by side, or of unequal depth")
		}
		if !leaf {
			return t.list(l, depth+1)
		}
		return t.listed(l)
	})
	if first {
		l.shape[depth] = n
	}
	if err == nil && l.shape[depth] != n {
		return t.r.Fail(reward.ErrInvalidValue, "data: arrays of %d and %d elements side by side", l.shape[depth], n)
	}
	return err
}

// listed reads one number.
func (t *translator) listed(l *list) error {
	if t.listedN++; t.listedN > maxListed {
		return t.r.Fail(reward.ErrInvalidValue, "more than %d numbers in arrays: send base64", maxListed)
	}
	s, err := t.r.Number()
	if err != nil {
		return err
	}
	f, err := strconv.ParseFloat(s, 32)
	if err != nil {
		return t.r.Fail(reward.ErrNotFinite, "data: %s is beyond float32", s)
	}
	l.values = append(l.values, float32(f))
	return nil
}

// encode is values as a tensor's data.
func (t *translator) encode(values []float32, kind reward.DType) ([]byte, error) {
	switch kind {
	case reward.Float32:
		data := make([]byte, 0, 4*len(values))
		for _, v := range values {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
		}
		return data, nil
	case reward.Uint8:
		data := make([]byte, len(values))
		for i, v := range values {
			if data[i] = uint8(v); float32(data[i]) != v {
				return nil, t.r.Fail(reward.ErrInvalidValue, "data: %v is no uint8", v)
			}
		}
		return data, nil
	}
	return nil, t.r.Fail(reward.ErrUnsupportedDType, "data in arrays is of uint8 or float32, not %q: send base64", string(kind))
}
