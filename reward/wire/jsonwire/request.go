package jsonwire

import (
	"encoding/binary"
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/vmihailenco/msgpack/v5/msgpcode"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire/boundedjson"
)

// MapFormat is how the maps of a response are written.
type MapFormat string

// The formats. PNG is 16-bit grey, 65535 for 1, of maps in [0,1] alone: heatmaps and
// dense.weight. Other maps are then tensors.
const (
	MapsAsTensors MapFormat = "tensor"
	MapsAsArrays  MapFormat = "array"
	MapsAsPNG     MapFormat = "png"
)

// Request translates a request in JSON to msgpack, which shares no memory with body.
// It writes over body. The key map_format, which msgpack does not have, is given
// beside it. Every error is an *reward.Error that names the field.
func Request(body []byte) (message []byte, format MapFormat, err error) {
	// Base64 shrinks, short numbers grow.
	t := &translator{r: boundedjson.New(body), out: make([]byte, 0, len(body)/4*3+1024)}
	format = MapsAsTensors
	err = t.object(func(key string) error {
		t.r.Field = key
		defer func() { t.r.Field = "" }()
		if key == "map_format" {
			return t.mapFormat(&format)
		}
		return t.field(key)
	})
	if err == nil {
		err = t.r.End()
	}
	return t.out, format, err
}

// translator appends to out, as msgpack, what it reads from r.
type translator struct {
	r       *boundedjson.Reader
	out     []byte
	listedN int // numbers of tensors that were nested arrays
}

// mapFormat reads map_format, which is no part of the message.
func (t *translator) mapFormat(format *MapFormat) error {
	s, err := t.r.Text(reward.MaxNameBytes)
	if err != nil {
		return err
	}
	*format = MapFormat(s)
	switch *format {
	case MapsAsTensors, MapsAsArrays, MapsAsPNG:
		return errNotSent
	}
	return t.r.Fail(reward.ErrInvalidValue, "%q: want %q, %q or %q", s, MapsAsTensors, MapsAsArrays, MapsAsPNG)
}

func (t *translator) field(key string) error {
	switch kind := t.r.Peek(); {
	case key == "images" && kind == '[':
		return t.array(func(i int) error {
			t.r.Field = "images[" + strconv.Itoa(i) + "]"
			return t.image()
		})
	case (key == "images" || key == "latents") && kind == '{':
		return t.tensor()
	case key == "metadata":
		return t.value(1, metadata)
	}
	return t.value(1, options)
}

// image reads a file in base64, or a tensor.
func (t *translator) image() error {
	switch t.r.Peek() {
	case '"':
		return t.base64()
	case '{':
		return t.tensor()
	}
	return t.r.Fail(reward.ErrInvalidValue, "want base64, a data URI or a tensor {dtype, shape, data}")
}

func (t *translator) base64() error {
	data, err := t.decodeBase64()
	t.bin(data)
	return err
}

func (t *translator) decodeBase64() ([]byte, error) {
	data, err := t.r.Base64()
	var e *reward.Error
	if err != nil && !errors.As(err, &e) {
		err = t.r.Fail(reward.ErrInvalidValue, "not base64: %v", err)
	}
	return data, err
}

// place is which rules a value's types follow.
type place int

const (
	options  place = iota // 2.0 is the integer 2, as JSON Schema has it
	metadata              // numbers keep their types, and {"base64": text} is bin
)

// value translates a value of no meaning here, which lies in depth others.
func (t *translator) value(depth int, at place) error {
	if depth > boundedjson.MaxDepth {
		return t.r.Fail(reward.ErrMalformedBody, "nested more than %d deep", boundedjson.MaxDepth)
	}
	switch t.r.Peek() {
	case 'n':
		t.r.SkipNull()
		t.out = append(t.out, msgpcode.Nil)
		return nil
	case 't', 'f':
		b, err := t.r.Bool()
		t.out = append(t.out, map[bool]byte{false: msgpcode.False, true: msgpcode.True}[b])
		return err
	case '"':
		s, err := t.r.Text(math.MaxInt)
		t.text(s)
		return err
	case '[':
		return t.array(func(int) error { return t.value(depth+1, at) })
	case '{':
		return t.mapping(depth, at)
	}
	s, err := t.r.Number()
	if err != nil {
		return err
	}
	return t.number(s, at)
}

// mapping translates an object. One of metadata whose only key is base64 is bin.
func (t *translator) mapping(depth int, at place) error {
	begin, keys, bytesAt := len(t.out), 0, -1
	err := t.object(func(key string) error {
		if keys++; key == "base64" && at == metadata && t.r.Peek() == '"' {
			bytesAt = len(t.out)
			return t.base64()
		}
		return t.value(depth+1, at)
	})
	if err == nil && bytesAt >= 0 {
		if keys > 1 {
			return t.r.Fail(reward.ErrInvalidValue, "an object with base64 has no other keys")
		}
		t.out = append(t.out[:begin], t.out[bytesAt:]...)
	}
	return err
}

func (t *translator) number(s string, at place) error {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		t.int(n)
		return nil
	}
	if n, err := strconv.ParseUint(s, 10, 64); err == nil {
		t.out = binary.BigEndian.AppendUint64(append(t.out, msgpcode.Uint64), n)
		return nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return t.r.Fail(reward.ErrNotFinite, "%s is beyond float64", s)
	}
	if at == options && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		t.int(int64(f))
		return nil
	}
	if short := float32(f); float64(short) == f {
		t.out = binary.BigEndian.AppendUint32(append(t.out, msgpcode.Float), math.Float32bits(short))
		return nil
	}
	t.out = binary.BigEndian.AppendUint64(append(t.out, msgpcode.Double), math.Float64bits(f))
	return nil
}

// object translates an object, whose values value translates.
func (t *translator) object(value func(key string) error) error {
	head, n := t.head(msgpcode.Map32), 0
	err := t.r.Fields(func(key string) error {
		begin := len(t.out)
		t.text(key)
		err := value(key)
		if err == errNotSent {
			t.out = t.out[:begin]
			return nil
		}
		n++
		return err
	})
	t.count(head, n)
	return err
}

func (t *translator) array(element func(i int) error) error {
	head, n := t.head(msgpcode.Array32), 0
	err := t.r.Elements(func() error {
		n++
		return element(n - 1)
	})
	t.count(head, n)
	return err
}

// head makes room for a length that is known later.
func (t *translator) head(code byte) int {
	t.out = append(t.out, code, 0, 0, 0, 0)
	return len(t.out) - 4
}

func (t *translator) count(head, n int) { binary.BigEndian.PutUint32(t.out[head:], uint32(n)) }

func (t *translator) text(s string) {
	t.out = binary.BigEndian.AppendUint32(append(t.out, msgpcode.Str32), uint32(len(s)))
	t.out = append(t.out, s...)
}

func (t *translator) bin(data []byte) {
	t.out = binary.BigEndian.AppendUint32(append(t.out, msgpcode.Bin32), uint32(len(data)))
	t.out = append(t.out, data...)
}

// int is short where it can be: no text grows to more than twice its size.
func (t *translator) int(n int64) {
	switch {
	case n >= 0 && n <= math.MaxInt8:
		t.out = append(t.out, byte(n))
	case n == int64(int32(n)):
		t.out = binary.BigEndian.AppendUint32(append(t.out, msgpcode.Int32), uint32(n))
	default:
		t.out = binary.BigEndian.AppendUint64(append(t.out, msgpcode.Int64), uint64(n))
	}
}

// dtype is the element type of a name: the protocol's own, or numpy's and torch's.
func dtype(name string) reward.DType {
	switch strings.TrimPrefix(name, "torch.") {
	case "bool":
		return reward.Bool
	case "uint8":
		return reward.Uint8
	case "float16", "half":
		return reward.Float16
	case "float32", "float":
		return reward.Float32
	case "float64", "double":
		return reward.Float64
	}
	return reward.DType(strings.TrimPrefix(name, "torch."))
}
