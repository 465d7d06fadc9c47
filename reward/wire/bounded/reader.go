// Package bounded reads msgpack without trust in it: no length is believed before
// it was checked against the bytes that are left and a limit.
package bounded

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/denseflow/densereward/reward"
	"github.com/vmihailenco/msgpack/v5"
	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// Reader walks a message in memory with msgpack's token calls. A length is
// believed only after it was checked against the bytes that are left and a
// limit. Nesting needs no counter: nothing here recurses, and a value of a
// shape that the protocol does not have is refused at its first byte.
//
// Every error is an *Error that names the field by its path.
type Reader struct {
	buf  []byte
	src  *bytes.Reader
	dec  *msgpack.Decoder
	path []step
}

// step is a key, or an index where name is empty.
type step struct {
	name  string
	index int
}

// New reads a message from its start. What it gives aliases the message.
func New(buf []byte) *Reader {
	src := bytes.NewReader(buf)
	// A bytes.Reader is an io.ByteScanner, so the decoder adds no buffer of
	// its own and the position in src is the position of the next token.
	return &Reader{buf: buf, src: src, dec: msgpack.NewDecoder(src)}
}

// Kind is the family that a token belongs to.
type Kind int

// The kinds.
const (
	KindInvalid Kind = iota
	KindNil
	KindBool
	KindInt
	KindFloat
	KindString
	KindBin
	KindArray
	KindMap
	KindExt
)

func (k Kind) String() string {
	return [...]string{"an invalid byte", "nil", "a boolean", "an integer", "a float", "a string", "bin", "an array", "a map", "an extension"}[k]
}

func kindOf(code byte) Kind {
	switch {
	case code == msgpcode.Nil:
		return KindNil
	case code == msgpcode.True || code == msgpcode.False:
		return KindBool
	case msgpcode.IsFixedNum(code), code >= msgpcode.Uint8 && code <= msgpcode.Int64:
		return KindInt
	case code == msgpcode.Float || code == msgpcode.Double:
		return KindFloat
	case msgpcode.IsString(code):
		return KindString
	case msgpcode.IsBin(code):
		return KindBin
	case msgpcode.IsFixedArray(code), code == msgpcode.Array16, code == msgpcode.Array32:
		return KindArray
	case msgpcode.IsFixedMap(code), code == msgpcode.Map16, code == msgpcode.Map32:
		return KindMap
	case msgpcode.IsExt(code):
		return KindExt
	}
	return KindInvalid
}

// Left is the number of bytes that were not read yet.
func (r *Reader) Left() int { return r.src.Len() }

// Push adds a key to the path that errors name; PushIndex adds an index, and Pop
// takes the last of them off.
func (r *Reader) Push(name string) { r.path = append(r.path, step{name: name}) }

// PushIndex adds an index to the path.
func (r *Reader) PushIndex(i int) { r.path = append(r.path, step{index: i}) }

// Pop takes the last key or index off the path.
func (r *Reader) Pop() { r.path = r.path[:len(r.path)-1] }

// Fail is e with a message that begins with the path of the current field.
func (r *Reader) Fail(e *reward.Error, format string, args ...any) error {
	var b strings.Builder
	for i, s := range r.path {
		switch {
		case s.name == "":
			b.WriteString("[" + strconv.Itoa(s.index) + "]")
		case i > 0:
			b.WriteString("." + s.name)
		default:
			b.WriteString(s.name)
		}
	}
	if b.Len() == 0 {
		b.WriteString("body")
	}
	return e.With("%s: %s", b.String(), fmt.Sprintf(format, args...))
}

// Peek is the kind of the next token, an error at the end of the body.
func (r *Reader) Peek() (Kind, error) {
	code, err := r.dec.PeekCode()
	if err != nil {
		return KindInvalid, r.Fail(reward.ErrMalformedBody, "the body ends where a value should begin")
	}
	return kindOf(code), nil
}

// Expect fails unless the next token is of one of the kinds.
func (r *Reader) Expect(want ...Kind) error {
	got, err := r.Peek()
	if err != nil {
		return err
	}
	names := make([]string, len(want))
	for i, w := range want {
		if got == w {
			return nil
		}
		names[i] = w.String()
	}
	return r.Fail(reward.ErrInvalidValue, "want %s, got %s", strings.Join(names, " or "), got)
}

// Cut is the error for a token whose own bytes are not all there.
func (r *Reader) Cut() error {
	return r.Fail(reward.ErrMalformedBody, "the body ends inside a value")
}

// SkipNil consumes a nil and reports whether there was one: an optional field
// that holds nil counts as absent.
func (r *Reader) SkipNil() (bool, error) {
	k, err := r.Peek()
	if err != nil || k != KindNil {
		return false, err
	}
	return true, r.dec.DecodeNil()
}

// ArrayLen reads an array's head. An element takes a byte at least.
func (r *Reader) ArrayLen() (int, error) {
	if err := r.Expect(KindArray); err != nil {
		return 0, err
	}
	n, err := r.dec.DecodeArrayLen()
	if err != nil {
		return 0, r.Cut()
	}
	if n > r.Left() {
		return 0, r.Fail(reward.ErrMalformedBody, "an array claims %d elements, %d bytes are left", n, r.Left())
	}
	return n, nil
}

// MapLen reads a map's head. An entry takes two bytes at least.
func (r *Reader) MapLen() (int, error) {
	if err := r.Expect(KindMap); err != nil {
		return 0, err
	}
	n, err := r.dec.DecodeMapLen()
	if err != nil {
		return 0, r.Cut()
	}
	if n > r.Left()/2 {
		return 0, r.Fail(reward.ErrMalformedBody, "a map claims %d entries, %d bytes are left", n, r.Left())
	}
	return n, nil
}

// Span reads a str or bin and gives its bytes, which alias the body.
func (r *Reader) Span(limit int, want ...Kind) ([]byte, error) {
	if err := r.Expect(want...); err != nil {
		return nil, err
	}
	n, err := r.dec.DecodeBytesLen()
	if err != nil {
		return nil, r.Cut()
	}
	if n > r.Left() {
		return nil, r.Fail(reward.ErrMalformedBody, "claims %d bytes, %d are left", n, r.Left())
	}
	if n > limit {
		return nil, r.Fail(reward.ErrInvalidValue, "%d bytes, limit %d", n, limit)
	}
	at := len(r.buf) - r.Left()
	if _, err := r.src.Seek(int64(n), io.SeekCurrent); err != nil {
		return nil, r.Cut()
	}
	return r.buf[at : at+n : at+n], nil
}

// Text reads a str of valid UTF-8.
func (r *Reader) Text(limit int) (string, error) {
	b, err := r.Span(limit, KindString)
	if err != nil {
		return "", err
	}
	if !utf8.Valid(b) {
		return "", r.Fail(reward.ErrInvalidValue, "not valid UTF-8")
	}
	return string(b), nil
}

// Bin reads bytes without copying them.
func (r *Reader) Bin() ([]byte, error) { return r.Span(math.MaxInt, KindBin) }

// Bool reads a boolean, numpy's among them.
func (r *Reader) Bool() (bool, error) {
	if k, err := r.Peek(); err == nil && k == KindMap {
		s, err := r.scalar()
		if err != nil {
			return false, err
		}
		b, ok := s.bool()
		if !ok {
			return false, r.Fail(reward.ErrInvalidValue, "want a boolean, got %s", s.dtype)
		}
		return b, nil
	}
	return r.plainBool()
}

func (r *Reader) plainBool() (bool, error) {
	if err := r.Expect(KindBool); err != nil {
		return false, err
	}
	b, err := r.dec.DecodeBool()
	if err != nil {
		return false, r.Cut()
	}
	return b, nil
}

// Int reads an integer in [low, high], numpy's among them.
func (r *Reader) Int(low, high int) (int, error) {
	if k, err := r.Peek(); err == nil && k == KindMap {
		s, err := r.scalar()
		if err != nil {
			return 0, err
		}
		n, ok := s.integer()
		if !ok || n < int64(low) || n > int64(high) {
			return 0, r.Fail(reward.ErrInvalidValue, "want an integer in [%d,%d], got one of type %s", low, high, s.dtype)
		}
		return int(n), nil
	}
	return r.plainInt(low, high)
}

func (r *Reader) plainInt(low, high int) (int, error) {
	if err := r.Expect(KindInt); err != nil {
		return 0, err
	}
	// A uint64 past the int64 range wraps to a negative number here, which no
	// caller's range takes.
	n, err := r.dec.DecodeInt64()
	if err != nil {
		return 0, r.Cut()
	}
	if n < int64(low) || n > int64(high) {
		return 0, r.Fail(reward.ErrInvalidValue, "%d is not in [%d,%d]", n, low, high)
	}
	return int(n), nil
}

// Int64 reads an integer of 64 bits with a sign.
func (r *Reader) Int64() (int64, error) {
	if code, err := r.dec.PeekCode(); err == nil && code == msgpcode.Uint64 {
		n, err := r.dec.DecodeUint64()
		if err != nil {
			return 0, r.Cut()
		}
		if n > math.MaxInt64 {
			return 0, r.Fail(reward.ErrInvalidValue, "%d does not fit 63 bits", n)
		}
		return int64(n), nil
	}
	n, err := r.Int(math.MinInt, math.MaxInt)
	return int64(n), err
}

// Float reads a finite number, numpy's among them.
func (r *Reader) Float() (float64, error) {
	f, err := r.anyFloat()
	if err != nil {
		return 0, err
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, r.Fail(reward.ErrNotFinite, "%v is not finite", f)
	}
	return f, nil
}

// anyFloat reads a number that may be NaN or infinite.
func (r *Reader) anyFloat() (float64, error) {
	if k, err := r.Peek(); err == nil && k == KindMap {
		s, err := r.scalar()
		if err != nil {
			return 0, err
		}
		f, ok := s.float()
		if !ok {
			return 0, r.Fail(reward.ErrInvalidValue, "want a number, got one of type %s", s.dtype)
		}
		return f, nil
	}
	if err := r.Expect(KindFloat, KindInt); err != nil {
		return 0, err
	}
	f, err := r.dec.DecodeFloat64()
	if err != nil {
		return 0, r.Cut()
	}
	return f, nil
}

// MaxKeyBytes is no shorter than any key of the protocol.
const MaxKeyBytes = reward.MaxNameBytes

// MaxKeys is no fewer than any map of the protocol has.
const MaxKeys = reward.MaxNames

// Fields reads a map whose keys are str or bin and calls field for each, the
// path set to the key. field returns false for a key it does not know. A key
// that comes twice is refused.
func (r *Reader) Fields(field func(key string) (bool, error)) error {
	n, err := r.MapLen()
	if err != nil {
		return err
	}
	if n > MaxKeys {
		return r.Fail(reward.ErrUnknownField, "a map of %d entries, limit %d", n, MaxKeys)
	}
	seen := make([]string, 0, n)
	for range n {
		b, err := r.Span(MaxKeyBytes, KindString, KindBin)
		if err != nil {
			return err
		}
		key := string(b)
		for _, s := range seen {
			if s == key {
				return r.Fail(reward.ErrMalformedBody, "key %q comes twice", key)
			}
		}
		seen = append(seen, key)
		r.Push(key)
		known, err := field(key)
		r.Pop()
		if err != nil {
			return err
		}
		if !known {
			return r.Fail(reward.ErrUnknownField, "unknown key %q", key)
		}
	}
	return nil
}

// Elements reads an array of at most limit elements and calls element for
// each, the path set to its index.
func (r *Reader) Elements(limit int, element func(i int) error) error {
	n, err := r.ArrayLen()
	if err != nil {
		return err
	}
	if n > limit {
		return r.Fail(reward.ErrInvalidValue, "%d elements, limit %d", n, limit)
	}
	for i := range n {
		r.PushIndex(i)
		err := element(i)
		r.Pop()
		if err != nil {
			return err
		}
	}
	return nil
}

// End fails if bytes are left.
func (r *Reader) End() error {
	if r.Left() > 0 {
		return r.Fail(reward.ErrMalformedBody, "%d bytes follow the value", r.Left())
	}
	return nil
}

// Tensor reads the map that msgpack-numpy writes, with keys and texts as str
// or bin. Data aliases the body.
func (r *Reader) Tensor() (*reward.Tensor, error) {
	t := &reward.Tensor{}
	var isArray, hasType, hasShape, hasData bool
	err := r.Fields(func(key string) (known bool, err error) {
		switch key {
		case "nd":
			isArray, err = r.plainBool()
		case "type":
			hasType = true
			err = r.dtype(&t.Type)
		case "kind":
			err = r.emptyKind()
		case "shape":
			hasShape = true
			err = r.Elements(reward.MaxRank, func(int) error {
				d, err := r.plainInt(0, math.MaxInt32)
				t.Shape = append(t.Shape, d)
				return err
			})
		case "data":
			hasData = true
			t.Data, err = r.Bin()
		default:
			return false, nil
		}
		return true, err
	})
	switch {
	case err != nil:
		return nil, err
	case !isArray || !hasType || !hasShape || !hasData:
		return nil, r.Fail(reward.ErrMissingField, "a tensor needs nd true, type, shape and data")
	}
	if err := t.Check(); err != nil {
		e := reward.AsError(err, reward.ErrInvalidValue)
		return nil, r.Fail(e, "%s", e.Message())
	}
	return t, nil
}

// emptyKind reads the kind of a plain numeric array.
func (r *Reader) emptyKind() error {
	b, err := r.Span(MaxKeyBytes, KindString, KindBin)
	if err == nil && len(b) > 0 {
		err = r.Fail(reward.ErrUnsupportedDType, "kind %q: want a plain numeric array", b)
	}
	return err
}

func (r *Reader) dtype(d *reward.DType) error {
	b, err := r.Span(MaxKeyBytes, KindString, KindBin)
	if err != nil {
		return err
	}
	*d = reward.DType(b)
	if d.Size() > 0 {
		return nil
	}
	if len(b) > 0 && b[0] == '>' {
		return r.Fail(reward.ErrUnsupportedDType, "%q is big-endian: send little-endian", b)
	}
	return r.Fail(reward.ErrUnsupportedDType, "%q is not a type of the protocol", b)
}
