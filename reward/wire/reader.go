package wire

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

// reader walks a message in memory with msgpack's token calls. A length is
// believed only after it was checked against the bytes that are left and a
// limit. Nesting needs no counter: nothing here recurses, and a value of a
// shape that the protocol does not have is refused at its first byte.
//
// Every error is an *Error that names the field by its path.
type reader struct {
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

func newReader(buf []byte) *reader {
	src := bytes.NewReader(buf)
	// A bytes.Reader is an io.ByteScanner, so the decoder adds no buffer of
	// its own and the position in src is the position of the next token.
	return &reader{buf: buf, src: src, dec: msgpack.NewDecoder(src)}
}

// kind is the family that a token belongs to.
type kind int

const (
	kindInvalid kind = iota
	kindNil
	kindBool
	kindInt
	kindFloat
	kindString
	kindBin
	kindArray
	kindMap
	kindExt
)

func (k kind) String() string {
	return [...]string{"an invalid byte", "nil", "a boolean", "an integer", "a float", "a string", "bin", "an array", "a map", "an extension"}[k]
}

func kindOf(code byte) kind {
	switch {
	case code == msgpcode.Nil:
		return kindNil
	case code == msgpcode.True || code == msgpcode.False:
		return kindBool
	case msgpcode.IsFixedNum(code), code >= msgpcode.Uint8 && code <= msgpcode.Int64:
		return kindInt
	case code == msgpcode.Float || code == msgpcode.Double:
		return kindFloat
	case msgpcode.IsString(code):
		return kindString
	case msgpcode.IsBin(code):
		return kindBin
	case msgpcode.IsFixedArray(code), code == msgpcode.Array16, code == msgpcode.Array32:
		return kindArray
	case msgpcode.IsFixedMap(code), code == msgpcode.Map16, code == msgpcode.Map32:
		return kindMap
	case msgpcode.IsExt(code):
		return kindExt
	}
	return kindInvalid
}

func (r *reader) left() int { return r.src.Len() }

func (r *reader) push(name string) { r.path = append(r.path, step{name: name}) }
func (r *reader) pushIndex(i int)  { r.path = append(r.path, step{index: i}) }
func (r *reader) pop()             { r.path = r.path[:len(r.path)-1] }

// fail is e with a message that begins with the path of the current field.
func (r *reader) fail(e *reward.Error, format string, args ...any) error {
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

// peek is the kind of the next token, an error at the end of the body.
func (r *reader) peek() (kind, error) {
	code, err := r.dec.PeekCode()
	if err != nil {
		return kindInvalid, r.fail(reward.ErrMalformedBody, "the body ends where a value should begin")
	}
	return kindOf(code), nil
}

// expect fails unless the next token is of one of the kinds.
func (r *reader) expect(want ...kind) error {
	got, err := r.peek()
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
	return r.fail(reward.ErrInvalidValue, "want %s, got %s", strings.Join(names, " or "), got)
}

// cut is the error for a token whose own bytes are not all there.
func (r *reader) cut() error {
	return r.fail(reward.ErrMalformedBody, "the body ends inside a value")
}

// skipNil consumes a nil and reports whether there was one: an optional field
// that holds nil counts as absent.
func (r *reader) skipNil() (bool, error) {
	k, err := r.peek()
	if err != nil || k != kindNil {
		return false, err
	}
	return true, r.dec.DecodeNil()
}

// arrayLen reads an array's head. An element takes a byte at least.
func (r *reader) arrayLen() (int, error) {
	if err := r.expect(kindArray); err != nil {
		return 0, err
	}
	n, err := r.dec.DecodeArrayLen()
	if err != nil {
		return 0, r.cut()
	}
	if n > r.left() {
		return 0, r.fail(reward.ErrMalformedBody, "an array claims %d elements, %d bytes are left", n, r.left())
	}
	return n, nil
}

// mapLen reads a map's head. An entry takes two bytes at least.
func (r *reader) mapLen() (int, error) {
	if err := r.expect(kindMap); err != nil {
		return 0, err
	}
	n, err := r.dec.DecodeMapLen()
	if err != nil {
		return 0, r.cut()
	}
	if n > r.left()/2 {
		return 0, r.fail(reward.ErrMalformedBody, "a map claims %d entries, %d bytes are left", n, r.left())
	}
	return n, nil
}

// span reads a str or bin and gives its bytes, which alias the body.
func (r *reader) span(limit int, want ...kind) ([]byte, error) {
	if err := r.expect(want...); err != nil {
		return nil, err
	}
	n, err := r.dec.DecodeBytesLen()
	if err != nil {
		return nil, r.cut()
	}
	if n > r.left() {
		return nil, r.fail(reward.ErrMalformedBody, "claims %d bytes, %d are left", n, r.left())
	}
	if n > limit {
		return nil, r.fail(reward.ErrInvalidValue, "%d bytes, limit %d", n, limit)
	}
	at := len(r.buf) - r.left()
	if _, err := r.src.Seek(int64(n), io.SeekCurrent); err != nil {
		return nil, r.cut()
	}
	return r.buf[at : at+n : at+n], nil
}

// text reads a str of valid UTF-8.
func (r *reader) text(limit int) (string, error) {
	b, err := r.span(limit, kindString)
	if err != nil {
		return "", err
	}
	if !utf8.Valid(b) {
		return "", r.fail(reward.ErrInvalidValue, "not valid UTF-8")
	}
	return string(b), nil
}

// bin reads bytes without copying them.
func (r *reader) bin() ([]byte, error) { return r.span(math.MaxInt, kindBin) }

// bool reads a boolean, numpy's among them.
func (r *reader) bool() (bool, error) {
	if k, err := r.peek(); err == nil && k == kindMap {
		s, err := r.scalar()
		if err != nil {
			return false, err
		}
		b, ok := s.bool()
		if !ok {
			return false, r.fail(reward.ErrInvalidValue, "want a boolean, got %s", s.dtype)
		}
		return b, nil
	}
	return r.plainBool()
}

func (r *reader) plainBool() (bool, error) {
	if err := r.expect(kindBool); err != nil {
		return false, err
	}
	b, err := r.dec.DecodeBool()
	if err != nil {
		return false, r.cut()
	}
	return b, nil
}

// int reads an integer in [low, high], numpy's among them.
func (r *reader) int(low, high int) (int, error) {
	if k, err := r.peek(); err == nil && k == kindMap {
		s, err := r.scalar()
		if err != nil {
			return 0, err
		}
		n, ok := s.integer()
		if !ok || n < int64(low) || n > int64(high) {
			return 0, r.fail(reward.ErrInvalidValue, "want an integer in [%d,%d], got one of type %s", low, high, s.dtype)
		}
		return int(n), nil
	}
	return r.plainInt(low, high)
}

func (r *reader) plainInt(low, high int) (int, error) {
	if err := r.expect(kindInt); err != nil {
		return 0, err
	}
	// A uint64 past the int64 range wraps to a negative number here, which no
	// caller's range takes.
	n, err := r.dec.DecodeInt64()
	if err != nil {
		return 0, r.cut()
	}
	if n < int64(low) || n > int64(high) {
		return 0, r.fail(reward.ErrInvalidValue, "%d is not in [%d,%d]", n, low, high)
	}
	return int(n), nil
}

// float reads a finite number, numpy's among them.
func (r *reader) float() (float64, error) {
	f, err := r.anyFloat()
	if err != nil {
		return 0, err
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, r.fail(reward.ErrNotFinite, "%v is not finite", f)
	}
	return f, nil
}

// anyFloat reads a number that may be NaN or infinite.
func (r *reader) anyFloat() (float64, error) {
	if k, err := r.peek(); err == nil && k == kindMap {
		s, err := r.scalar()
		if err != nil {
			return 0, err
		}
		f, ok := s.float()
		if !ok {
			return 0, r.fail(reward.ErrInvalidValue, "want a number, got one of type %s", s.dtype)
		}
		return f, nil
	}
	if err := r.expect(kindFloat, kindInt); err != nil {
		return 0, err
	}
	f, err := r.dec.DecodeFloat64()
	if err != nil {
		return 0, r.cut()
	}
	return f, nil
}

// maxKeyBytes is no shorter than any key of the protocol.
const maxKeyBytes = reward.MaxNameBytes

// maxKeys is no fewer than any map of the protocol has.
const maxKeys = reward.MaxNames

// fields reads a map whose keys are str or bin and calls field for each, the
// path set to the key. field returns false for a key it does not know. A key
// that comes twice is refused.
func (r *reader) fields(field func(key string) (bool, error)) error {
	n, err := r.mapLen()
	if err != nil {
		return err
	}
	if n > maxKeys {
		return r.fail(reward.ErrUnknownField, "a map of %d entries, limit %d", n, maxKeys)
	}
	seen := make([]string, 0, n)
	for range n {
		b, err := r.span(maxKeyBytes, kindString, kindBin)
		if err != nil {
			return err
		}
		key := string(b)
		for _, s := range seen {
			if s == key {
				return r.fail(reward.ErrMalformedBody, "key %q comes twice", key)
			}
		}
		seen = append(seen, key)
		r.push(key)
		known, err := field(key)
		r.pop()
		if err != nil {
			return err
		}
		if !known {
			return r.fail(reward.ErrUnknownField, "unknown key %q", key)
		}
	}
	return nil
}

// elements reads an array of at most limit elements and calls element for
// each, the path set to its index.
func (r *reader) elements(limit int, element func(i int) error) error {
	n, err := r.arrayLen()
	if err != nil {
		return err
	}
	if n > limit {
		return r.fail(reward.ErrInvalidValue, "%d elements, limit %d", n, limit)
	}
	for i := range n {
		r.pushIndex(i)
		err := element(i)
		r.pop()
		if err != nil {
			return err
		}
	}
	return nil
}

// end fails if bytes are left.
func (r *reader) end() error {
	if r.left() > 0 {
		return r.fail(reward.ErrMalformedBody, "%d bytes follow the value", r.left())
	}
	return nil
}

// tensor reads the map that msgpack-numpy writes, with keys and texts as str
// or bin. Data aliases the body.
func (r *reader) tensor() (*reward.Tensor, error) {
	t := &reward.Tensor{}
	var isArray, hasType, hasShape, hasData bool
	err := r.fields(func(key string) (known bool, err error) {
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
			err = r.elements(reward.MaxRank, func(int) error {
				d, err := r.plainInt(0, math.MaxInt32)
				t.Shape = append(t.Shape, d)
				return err
			})
		case "data":
			hasData = true
			t.Data, err = r.bin()
		default:
			return false, nil
		}
		return true, err
	})
	switch {
	case err != nil:
		return nil, err
	case !isArray || !hasType || !hasShape || !hasData:
		return nil, r.fail(reward.ErrMissingField, "a tensor needs nd true, type, shape and data")
	}
	if err := t.Check(); err != nil {
		e := reward.AsError(err, reward.ErrInvalidValue)
		return nil, r.fail(e, "%s", e.Message())
	}
	return t, nil
}

// emptyKind reads the kind of a plain numeric array.
func (r *reader) emptyKind() error {
	b, err := r.span(maxKeyBytes, kindString, kindBin)
	if err == nil && len(b) > 0 {
		err = r.fail(reward.ErrUnsupportedDType, "kind %q: want a plain numeric array", b)
	}
	return err
}

func (r *reader) dtype(d *reward.DType) error {
	b, err := r.span(maxKeyBytes, kindString, kindBin)
	if err != nil {
		return err
	}
	*d = reward.DType(b)
	if d.Size() > 0 {
		return nil
	}
	if len(b) > 0 && b[0] == '>' {
		return r.fail(reward.ErrUnsupportedDType, "%q is big-endian: send little-endian", b)
	}
	return r.fail(reward.ErrUnsupportedDType, "%q is not a type of the protocol", b)
}
