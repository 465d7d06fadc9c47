package batch

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
)

// AppendMetadata appends to b an encoding of a value of a sample's metadata in which no two
// different values look alike: a letter for the type, then the length or the
// value. Keys are in order, so that equal maps give equal bytes.
func AppendMetadata(b []byte, value any) []byte {
	number := func(kind byte, v uint64) []byte { return binary.LittleEndian.AppendUint64(append(b, kind), v) }
	switch v := value.(type) {
	case nil:
		return append(b, 'n')
	case bool:
		if v {
			return append(b, 't')
		}
		return append(b, 'f')
	case int64:
		return number('i', uint64(v))
	case float64:
		return number('d', math.Float64bits(v))
	case string:
		return append(number('s', uint64(len(v))), v...)
	case []byte:
		return append(number('b', uint64(len(v))), v...)
	case []any:
		b = number('a', uint64(len(v)))
		for _, element := range v {
			b = AppendMetadata(b, element)
		}
		return b
	case map[string]any:
		b = number('m', uint64(len(v)))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			b = AppendMetadata(AppendMetadata(b, key), v[key])
		}
		return b
	default: // a caller in this process: the wire gives none of these
		text := fmt.Sprintf("%T %#v", v, v)
		return append(number('?', uint64(len(text))), text...)
	}
}
