package wire

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire/bounded"
)

// The limits of one sample's metadata beside Limits.MetadataBytes, and of all samples'.
const (
	// MetadataDepth is how deep maps and arrays may nest.
	MetadataDepth = 8
	// MetadataValues is how many values there may be, maps and arrays included.
	MetadataValues = 4096
	// AllMetadataValues is how many all samples of a request may have: an empty map is a
	// byte on the wire and fifty in memory, one of one entry three and four hundred.
	AllMetadataValues = 256 << 10
)

// metadata reads an array of one map a sample, or nil where a sample has none.
func (r *reader) metadata(limits Limits) ([]map[string]any, error) {
	n, err := r.samples(limits)
	if err != nil {
		return nil, err
	}
	all := make([]map[string]any, n)
	left := AllMetadataValues
	for i := range all {
		r.PushIndex(i)
		all[i], err = r.sampleMetadata(limits.MetadataBytes, &left)
		r.Pop()
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (r *reader) sampleMetadata(limit int, left *int) (map[string]any, error) {
	if absent, err := r.SkipNil(); absent || err != nil {
		return nil, err
	}
	values := metadataReader{reader: r, end: r.Left() - limit, limit: limit, left: left}
	return values.object(MetadataDepth)
}

// metadataReader reads the values of one sample.
type metadataReader struct {
	*reader
	count int // values read
	end   int // bytes left in the body when the limit is reached
	limit int
	left  *int // values that all samples may have yet
}

// take counts a value.
func (r *metadataReader) take() error {
	r.count++
	*r.left--
	switch {
	case *r.left < 0:
		return r.Fail(reward.ErrInvalidValue, "more than %d values of all samples", AllMetadataValues)
	case r.count > MetadataValues:
		return r.Fail(reward.ErrInvalidValue, "more than %d values", MetadataValues)
	case r.Left() < r.end:
		return r.Fail(reward.ErrInvalidValue, "more than %d bytes", r.limit)
	}
	return nil
}

func (r *metadataReader) object(depth int) (map[string]any, error) {
	object := map[string]any{}
	err := r.Fields(func(key string) (known bool, err error) {
		object[key], err = r.value(depth - 1)
		return true, err
	})
	return object, err
}

func (r *metadataReader) array(depth int) ([]any, error) {
	array := []any{}
	err := r.Elements(MetadataValues, func(int) error {
		v, err := r.value(depth - 1)
		array = append(array, v)
		return err
	})
	return array, err
}

// value reads one value, which may hold values to a depth. Bytes alias the body.
func (r *metadataReader) value(depth int) (v any, err error) {
	if depth < 0 {
		return nil, r.Fail(reward.ErrInvalidValue, "nested more than %d deep", MetadataDepth)
	}
	k, err := r.Peek()
	if err != nil {
		return nil, err
	}
	switch k {
	case bounded.KindNil:
		_, err = r.SkipNil()
	case bounded.KindBool:
		v, err = r.Bool()
	case bounded.KindInt:
		v, err = r.Int64()
	case bounded.KindFloat:
		v, err = r.Float()
	case bounded.KindString:
		v, err = r.Text(r.limit)
	case bounded.KindBin:
		v, err = r.Span(r.limit, bounded.KindBin)
	case bounded.KindArray:
		v, err = r.array(depth)
	case bounded.KindMap:
		v, err = r.object(depth)
	default:
		err = r.Fail(reward.ErrInvalidValue, "%s means nothing here", k)
	}
	if err != nil {
		return nil, err
	}
	return v, r.take()
}

// encodeMetadata writes an array of one map a sample.
func (w *writer) encodeMetadata(all []map[string]any) error {
	w.text("metadata")
	w.arrayLen(len(all))
	for i, object := range all {
		if err := w.value(object, MetadataDepth); err != nil {
			return reward.ErrInvalidValue.With("metadata[%d]%v", i, err)
		}
	}
	return nil
}

// value writes a value of a sample's metadata, keys in order. An error begins
// with the place below.
func (w *writer) value(value any, depth int) error {
	switch v := value.(type) {
	case nil:
		w.null()
	case bool:
		w.bool(v)
	case int: // as callers write constants
		w.int(v)
	case int64:
		w.int(int(v))
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf(": %v is not finite", v)
		}
		w.float(v)
	case string:
		w.text(v)
	case []byte:
		w.bin(v)
	case []any:
		return w.array(v, depth)
	case map[string]any:
		return w.object(v, depth)
	default:
		return fmt.Errorf(": type %T: want nil, bool, int64, float64, string, []byte, []any or map[string]any", v)
	}
	return nil
}

func (w *writer) array(values []any, depth int) error {
	if depth == 0 {
		return fmt.Errorf(": nested more than %d deep", MetadataDepth)
	}
	w.arrayLen(len(values))
	for i, v := range values {
		if err := w.value(v, depth-1); err != nil {
			return fmt.Errorf("[%d]%w", i, err)
		}
	}
	return nil
}

func (w *writer) object(object map[string]any, depth int) error {
	if depth == 0 {
		return fmt.Errorf(": nested more than %d deep", MetadataDepth)
	}
	w.mapLen(len(object))
	for _, key := range slices.Sorted(maps.Keys(object)) {
		w.text(key)
		if err := w.value(object[key], depth-1); err != nil {
			return fmt.Errorf(".%s%w", key, err)
		}
	}
	return nil
}
