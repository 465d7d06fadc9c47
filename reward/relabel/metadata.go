package relabel

import (
	"bytes"
	"encoding/json"
	"math"
)

// MetadataValue is a JSON value as evaluators take it: integers are int64, other
// numbers float64. It reports false for null and for what is no JSON.
func MetadataValue(data json.RawMessage) (any, bool) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil || v == nil {
		return nil, false
	}
	return metadataOf(v), true
}

func metadataOf(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, err := v.Float64()
		if err != nil { // beyond float64
			return math.Copysign(math.MaxFloat64, f)
		}
		return f
	case []any:
		for i := range v {
			v[i] = metadataOf(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = metadataOf(v[name])
		}
	}
	return v
}

// Keep puts a value into the record's metadata.
func (r *Record) Keep(name string, value any) {
	if r.Metadata == nil {
		r.Metadata = map[string]any{}
	}
	r.Metadata[name] = value
}
