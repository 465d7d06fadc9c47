package compat

import (
	"errors"
	"strconv"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
	"github.com/denseflow/densereward/reward/wire/boundedjson"
)

func readBase64(r *boundedjson.Reader) ([]byte, error) {
	file, err := r.Base64()
	var e *reward.Error
	if err != nil && !errors.As(err, &e) {
		err = r.Fail(reward.ErrImageCorrupt, "not base64: %v", err)
	}
	return file, err
}

// metadataReader reads what a trainer knows of a sample, within the limits that
// package wire has for it.
type metadataReader struct {
	r     *boundedjson.Reader
	count int
	bytes int
	limit int // of bytes
}

// take counts a value, and the bytes of texts.
func (m *metadataReader) take(n int) error {
	m.count++
	m.bytes += n
	switch {
	case m.count > wire.MetadataValues:
		return m.r.Fail(reward.ErrInvalidValue, "more than %d values", wire.MetadataValues)
	case m.bytes > m.limit:
		return m.r.Fail(reward.ErrInvalidValue, "more than %d bytes", m.limit)
	}
	return nil
}

func (m *metadataReader) object(depth int) (map[string]any, error) {
	object := map[string]any{}
	err := m.r.Fields(func(key string) (err error) {
		object[key], err = m.value(depth - 1)
		return err
	})
	return object, err
}

func (m *metadataReader) array(depth int) ([]any, error) {
	array := []any{}
	err := m.r.Elements(func() error {
		v, err := m.value(depth - 1)
		array = append(array, v)
		return err
	})
	return array, err
}

func (m *metadataReader) value(depth int) (any, error) {
	if depth < 0 {
		return nil, m.r.Fail(reward.ErrInvalidValue, "nested more than %d deep", wire.MetadataDepth)
	}
	switch m.r.Peek() {
	case 'n':
		m.r.SkipNull()
		return nil, m.take(0)
	case 't', 'f':
		b, err := m.r.Bool()
		if err != nil {
			return nil, err
		}
		return b, m.take(0)
	case '"':
		s, err := m.r.Text(m.limit)
		if err != nil {
			return nil, err
		}
		return s, m.take(len(s))
	case '[':
		if err := m.take(0); err != nil {
			return nil, err
		}
		return m.array(depth)
	case '{':
		if err := m.take(0); err != nil {
			return nil, err
		}
		return m.object(depth)
	}
	s, err := m.r.Number()
	if err != nil {
		return nil, err
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, m.take(0)
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return nil, m.r.Fail(reward.ErrNotFinite, "%s is beyond float64", s)
	}
	return f, m.take(0)
}
