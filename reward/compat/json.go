package compat

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/denseflow/densereward/reward"
)

// The limits of a JSON text. The deepest of Flow-Factory's is an array of
// videos of frames of a sample.
const (
	maxJSONDepth = 32
	maxNumber    = 64 // bytes; longer than any number that means something
	maxKey       = 256
)

// jsonReader walks a JSON text in memory, token by token and without copying
// its strings, which may be files of megabytes. It writes over the text. Every
// error is an *reward.Error.
type jsonReader struct {
	dec   *jsontext.Decoder
	field string // the key of the request that is being read
}

// newJSONReader reads text. What Python's json writes and JSON lacks is taken:
// NaN and infinities, as 0, and halves of surrogate pairs, as U+FFFD.
func newJSONReader(text []byte) *jsonReader {
	dropNotFinite(text)
	return &jsonReader{dec: jsontext.NewDecoder(bytes.NewBuffer(text), jsontext.AllowInvalidUTF8(true))}
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

func (r *jsonReader) fail(e *reward.Error, format string, args ...any) error {
	field := r.field
	if field == "" {
		field = "body"
	}
	return e.With("%s: %s", field, fmt.Sprintf(format, args...))
}

// malformed is the error for what jsontext does not take.
func (r *jsonReader) malformed(err error) error {
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return r.fail(reward.ErrMalformedBody, "the body ends inside a value")
	case errors.As(err, &syntax):
		return r.fail(reward.ErrMalformedBody, "at byte %d: %v", syntax.ByteOffset, syntax.Err)
	}
	return r.fail(reward.ErrMalformedBody, "not JSON")
}

// token reads the next token, which must be of the given kind.
func (r *jsonReader) token(kind jsontext.Kind) error {
	t, err := r.dec.ReadToken()
	if err != nil {
		return r.malformed(err)
	}
	if t.Kind() != kind {
		return r.fail(reward.ErrMalformedBody, "want %q, got %q", kind, t.Kind())
	}
	return nil
}

// isNull consumes a null and reports whether there was one.
func (r *jsonReader) isNull() bool {
	if r.dec.PeekKind() != 'n' {
		return false
	}
	_, err := r.dec.ReadToken()
	return err == nil
}

// quoted reads a string with its quotes, as it lies in the text.
func (r *jsonReader) quoted() ([]byte, error) {
	if kind := r.dec.PeekKind(); kind != '"' && kind != 0 {
		return nil, r.fail(reward.ErrMalformedBody, "want a string, got %q", kind)
	}
	v, err := r.dec.ReadValue()
	if err != nil {
		return nil, r.malformed(err)
	}
	return v, nil
}

// string reads a string of at most limit bytes.
func (r *jsonReader) string(limit int) (string, error) {
	v, err := r.quoted()
	if err != nil {
		return "", err
	}
	if len(v)-2 > limit {
		return "", r.fail(reward.ErrInvalidValue, "%d bytes, limit %d", len(v)-2, limit)
	}
	// The one error is of invalid UTF-8, which comes with its replacement.
	s, _ := jsontext.AppendUnquote(nil, v)
	return string(s), nil
}

// base64 reads a string of base64 into its own memory.
func (r *jsonReader) base64() ([]byte, error) {
	v, err := r.quoted()
	if err != nil {
		return nil, err
	}
	return decodeBase64(v[1 : len(v)-1])
}

// array reads an array and calls element for each of its elements, which
// consumes it.
func (r *jsonReader) array(element func() error) error {
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

// object reads an object and calls value for each key, which consumes the
// key's value.
func (r *jsonReader) object(value func(key string) error) error {
	if err := r.token('{'); err != nil {
		return err
	}
	for r.dec.PeekKind() != '}' {
		key, err := r.string(maxKey)
		if err != nil {
			return err
		}
		if err := value(key); err != nil {
			return err
		}
	}
	return r.token('}')
}

// skip passes over one value.
func (r *jsonReader) skip() error {
	depth := r.dec.StackDepth()
	for {
		t, err := r.dec.ReadToken()
		if err != nil {
			return r.malformed(err)
		}
		switch now := r.dec.StackDepth(); {
		case now > maxJSONDepth:
			return r.fail(reward.ErrMalformedBody, "nested more than %d deep", maxJSONDepth)
		case t.Kind() == '0' && len(t.String()) > maxNumber:
			return r.fail(reward.ErrMalformedBody, "a number of more than %d digits", maxNumber)
		case now == depth:
			return nil
		}
	}
}

// end fails if anything but space is left.
func (r *jsonReader) end() error {
	if _, err := r.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return r.fail(reward.ErrMalformedBody, "more follows the value")
	}
	return nil
}

// base64Block is what is decoded at a time, a multiple of four.
const base64Block = 4096

// decodeBase64 decodes text, a string of JSON, into its own memory.
func decodeBase64(text []byte) ([]byte, error) {
	text = unescapeSlashes(text)
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

// unescapeSlashes drops the backslashes that some encoders put before slashes.
// Any other escape stays, and is no base64.
func unescapeSlashes(text []byte) []byte {
	n := 0
	for i, c := range text {
		if c == '\\' && i+1 < len(text) && text[i+1] == '/' {
			continue
		}
		if n != i {
			text[n] = c
		}
		n++
	}
	return text[:n]
}
