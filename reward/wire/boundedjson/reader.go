// Package boundedjson reads JSON without trust in it and without copying its strings,
// which may be files of megabytes: token by token, to a depth, in the memory of
// the text itself.
package boundedjson

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/denseflow/densereward/reward"
)

// The limits of a JSON text.
const (
	// MaxDepth is how deep values may nest.
	MaxDepth  = 32
	maxNumber = 64 // bytes; longer than any number that means something
	maxKey    = 256
	// maxSkippedKeys bounds the keys of one object that is passed over.
	maxSkippedKeys = 16 << 10
)

// Reader walks a JSON text in memory. It writes over the text. Every error is an
// *reward.Error.
type Reader struct {
	Field string // what is being read, as errors name it; "" is the body

	dec *jsontext.Decoder
}

// New reads text as JSON has it.
func New(text []byte) *Reader {
	return &Reader{dec: jsontext.NewDecoder(bytes.NewBuffer(text))}
}

// NewPython reads text that Python's json may have written. What JSON lacks is
// taken: NaN and infinities, as 0, and halves of surrogate pairs, as U+FFFD.
func NewPython(text []byte) *Reader {
	dropNotFinite(text)
	return &Reader{dec: jsontext.NewDecoder(bytes.NewBuffer(text), jsontext.AllowInvalidUTF8(true))}
}

// dropNotFinite makes zeros of NaN, Infinity and -Infinity where a value may
// stand: outside strings, behind a colon, comma, bracket or space.
func dropNotFinite(text []byte) {
	for len(text) > 0 {
		quote := bytes.IndexByte(text, '"')
		if quote < 0 {
			quote = len(text)
		}
		for _, name := range []string{"NaN", "-Infinity", "Infinity"} {
			dropName(text[:quote], name)
		}
		text = text[min(quote+1, len(text)):]
		text = text[stringEnd(text):]
	}
}

// dropName makes zeros of a name in text.
func dropName(text []byte, name string) {
	for at := 0; ; {
		found := bytes.Index(text[at:], []byte(name))
		if found < 0 {
			return
		}
		begin := at + found
		at = begin + len(name)
		if begin > 0 && strings.IndexByte(":,[ \t\r\n", text[begin-1]) >= 0 {
			copy(text[begin:], "0        "[:len(name)])
		}
	}
}

// stringEnd is the length of a string's rest with its closing quote.
func stringEnd(text []byte) int {
	at := 0
	for {
		quote := bytes.IndexByte(text[at:], '"')
		if quote < 0 {
			return len(text)
		}
		end := at + quote
		escapes := 0
		for escapes < end-at && text[end-1-escapes] == '\\' {
			escapes++
		}
		at = end + 1
		if escapes%2 == 0 {
			return at
		}
	}
}

// Fail is e with a message that begins with the field that is being read.
func (r *Reader) Fail(e *reward.Error, format string, args ...any) error {
	field := r.Field
	if field == "" {
		field = "body"
	}
	return e.With("%s: %s", field, fmt.Sprintf(format, args...))
}

// malformed is the error for what jsontext does not take.
func (r *Reader) malformed(err error) error {
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return r.Fail(reward.ErrMalformedBody, "the body ends inside a value")
	case errors.As(err, &syntax):
		return r.Fail(reward.ErrMalformedBody, "at byte %d: %v", syntax.ByteOffset, syntax.Err)
	}
	return r.Fail(reward.ErrMalformedBody, "not JSON")
}

// token reads the next token, which must be of the given kind.
func (r *Reader) token(kind jsontext.Kind) error {
	t, err := r.dec.ReadToken()
	if err != nil {
		return r.malformed(err)
	}
	if t.Kind() != kind {
		return r.Fail(reward.ErrMalformedBody, "want %q, got %q", kind, t.Kind())
	}
	return nil
}

// SkipNull consumes a null and reports whether there was one.
func (r *Reader) SkipNull() bool {
	if r.dec.PeekKind() != 'n' {
		return false
	}
	_, err := r.dec.ReadToken()
	return err == nil
}

// quoted reads a string with its quotes, as it lies in the text.
func (r *Reader) quoted() ([]byte, error) {
	if kind := r.dec.PeekKind(); kind != '"' && kind != 0 {
		return nil, r.Fail(reward.ErrMalformedBody, "want a string, got %q", kind)
	}
	v, err := r.dec.ReadValue()
	if err != nil {
		return nil, r.malformed(err)
	}
	return v, nil
}

// Text reads a string of at most limit bytes.
func (r *Reader) Text(limit int) (string, error) {
	v, err := r.quoted()
	if err != nil {
		return "", err
	}
	if len(v)-2 > limit {
		return "", r.Fail(reward.ErrInvalidValue, "%d bytes, limit %d", len(v)-2, limit)
	}
	// The one error is of invalid UTF-8, which comes with its replacement.
	s, _ := jsontext.AppendUnquote(nil, v)
	return string(s), nil
}

// Base64 reads a string of base64, alone or in a data URI, into its own memory.
// Line breaks in it mean nothing.
func (r *Reader) Base64() ([]byte, error) {
	v, err := r.quoted()
	if err != nil {
		return nil, err
	}
	return decodeBase64(v[1 : len(v)-1])
}

// Peek is the kind of the next token: one of n, f, t, ", 0, {, }, [ and ], or the
// byte 0 where there is none.
func (r *Reader) Peek() byte { return byte(r.dec.PeekKind()) }

func (r *Reader) Bool() (bool, error) {
	kind := r.dec.PeekKind()
	if kind != 't' && kind != 'f' {
		return false, r.token('t')
	}
	t, err := r.dec.ReadToken()
	if err != nil {
		return false, r.malformed(err)
	}
	return t.Bool(), nil
}

// Number reads a number as it is written.
func (r *Reader) Number() (string, error) {
	t, err := r.dec.ReadToken()
	switch {
	case err != nil:
		return "", r.malformed(err)
	case t.Kind() != '0':
		return "", r.Fail(reward.ErrMalformedBody, "want a number, got %q", t.Kind())
	case len(t.String()) > maxNumber:
		return "", r.Fail(reward.ErrMalformedBody, "a number of more than %d digits", maxNumber)
	}
	return t.String(), nil
}

// Elements reads an array and calls element for each of its elements, which
// consumes it.
func (r *Reader) Elements(element func() error) error {
	if err := r.token('['); err != nil {
		return err
	}
	for {
		switch r.dec.PeekKind() {
		case ']':
			return r.token(']')
		default:
			if err := element(); err != nil {
				return err
			}
		}
	}
}

// Fields reads an object and calls value for each key, which consumes the
// key's value.
func (r *Reader) Fields(value func(key string) error) error {
	if err := r.token('{'); err != nil {
		return err
	}
	for r.dec.PeekKind() != '}' {
		key, err := r.Text(maxKey)
		if err != nil {
			return err
		}
		if err := value(key); err != nil {
			return err
		}
	}
	return r.token('}')
}

// Document reads a text that is one object and nothing else. It calls value for each
// key that is not null, with Field set to the key.
func (r *Reader) Document(value func(key string) error) error {
	err := r.Fields(func(key string) error {
		r.Field = key
		defer func() { r.Field = "" }()
		if r.SkipNull() {
			return nil
		}
		return value(key)
	})
	if err != nil {
		return err
	}
	return r.End()
}

// Skip passes over one value.
func (r *Reader) Skip() error {
	depth := r.dec.StackDepth()
	for {
		t, err := r.dec.ReadToken()
		if err != nil {
			return r.malformed(err)
		}
		now := r.dec.StackDepth()
		kind, length := r.dec.StackIndex(now)
		switch {
		case now > MaxDepth:
			return r.Fail(reward.ErrMalformedBody, "nested more than %d deep", MaxDepth)
		case t.Kind() == '0' && len(t.String()) > maxNumber:
			return r.Fail(reward.ErrMalformedBody, "a number of more than %d digits", maxNumber)
		case now > depth && kind == '{' && length > 2*maxSkippedKeys:
			// The decoder remembers each, to tell when one comes twice.
			return r.Fail(reward.ErrInvalidValue, "an object of more than %d keys", maxSkippedKeys)
		case now == depth:
			return nil
		}
	}
}

// End fails if anything but space is left.
func (r *Reader) End() error {
	if _, err := r.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return r.Fail(reward.ErrMalformedBody, "more follows the value")
	}
	return nil
}

// base64Block is what is decoded at a time, a multiple of four.
const base64Block = 4096

// decodeBase64 decodes text, the inside of a string of JSON, into its own memory.
func decodeBase64(text []byte) ([]byte, error) {
	text = plainBase64(text)
	if bytes.HasPrefix(text, []byte("data:")) {
		head, rest, found := bytes.Cut(text, []byte(","))
		if !found || !bytes.HasSuffix(head, []byte(";base64")) {
			return nil, errDataURI
		}
		text = rest
	}
	var block [base64Block / 4 * 3]byte
	n := 0
	for at := 0; at < len(text); at += base64Block {
		m, err := base64.StdEncoding.Strict().Decode(block[:], text[at:min(at+base64Block, len(text))])
		if err != nil {
			return nil, err
		}
		n += copy(text[n:], block[:m]) // never past what was read
	}
	return text[:n:n], nil
}

var errDataURI = errors.New("a data URI without base64")

// plainBase64 resolves the escapes that some encoders write for characters of
// base64, and drops line breaks. Any other escape stays, and is no base64.
func plainBase64(text []byte) []byte {
	if bytes.IndexByte(text, '\\') < 0 {
		return text
	}
	n := 0
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '\\' && i+1 < len(text) {
			switch text[i+1] {
			case 'n', 'r':
				i++
				continue
			case '/':
				i++
				c = '/'
			case 'u': // as encoders that think of HTML write +
				if code, err := strconv.ParseUint(string(text[i+2:min(i+6, len(text))]), 16, 7); err == nil {
					i += 5
					c = byte(code)
				}
			}
		}
		text[n] = c
		n++
	}
	return text[:n]
}
