package server

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/denseflow/densereward/reward"
)

// maxJSONDepth bounds the nesting of a JSON value that is passed over. The
// deepest of Flow-Factory's is an array of videos of frames of a sample.
const maxJSONDepth = 32

// jsonReader walks a JSON text in memory without copying its strings, which
// encoding/json would do to files of megabytes. It reads what a request may
// hold and refuses the rest; every error is an *reward.Error.
type jsonReader struct {
	text  []byte
	at    int
	field string // the key of the request that is being read
}

func (r *jsonReader) fail(e *reward.Error, format string, args ...any) error {
	field := r.field
	if field == "" {
		field = "body"
	}
	return e.With("%s: %s", field, fmt.Sprintf(format, args...))
}

// next is the first byte of the next token, 0 at the end.
func (r *jsonReader) next() byte {
	for r.at < len(r.text) {
		switch c := r.text[r.at]; c {
		case ' ', '\t', '\r', '\n':
			r.at++
		default:
			return c
		}
	}
	return 0
}

// take consumes c, or fails.
func (r *jsonReader) take(c byte) error {
	switch got := r.next(); got {
	case c:
		r.at++
		return nil
	case 0:
		return r.fail(reward.ErrMalformedBody, "the body ends where %q should follow", c)
	default:
		return r.fail(reward.ErrMalformedBody, "want %q at byte %d, got %q", c, r.at, got)
	}
}

// word consumes a literal name, and reports whether it was there.
func (r *jsonReader) word(name string) bool {
	r.next()
	if len(r.text)-r.at < len(name) || string(r.text[r.at:r.at+len(name)]) != name {
		return false
	}
	r.at += len(name)
	return true
}

// raw is the next string between its quotes, with its escapes.
func (r *jsonReader) raw() ([]byte, error) {
	if err := r.take('"'); err != nil {
		return nil, err
	}
	start := r.at
	for r.at < len(r.text) {
		switch c := r.text[r.at]; {
		case c == '"':
			r.at++
			return r.text[start : r.at-1 : r.at-1], nil
		case c == '\\':
			if err := r.escape(); err != nil {
				return nil, err
			}
		case c < ' ':
			return nil, r.fail(reward.ErrMalformedBody, "a control character in a string at byte %d", r.at)
		default:
			r.at++
		}
	}
	r.at = len(r.text)
	return nil, r.fail(reward.ErrMalformedBody, "the body ends inside a string")
}

// escape passes over a backslash and what it stands before.
func (r *jsonReader) escape() error {
	rest := r.text[r.at+1:]
	switch {
	case len(rest) > 0 && strings.IndexByte(`"\/bfnrt`, rest[0]) >= 0:
		r.at += 2
		return nil
	case len(rest) > 4 && rest[0] == 'u' && json.Valid(quoted(rest[:5])):
		r.at += 6
		return nil
	case len(rest) == 0:
		return r.fail(reward.ErrMalformedBody, "the body ends inside a string")
	}
	return r.fail(reward.ErrMalformedBody, "an escape that is none at byte %d", r.at)
}

// quoted is an escape as a string of its own.
func quoted(escape []byte) []byte {
	return append(append([]byte{'"', '\\'}, escape...), '"')
}

// string is the next string of at most limit bytes.
func (r *jsonReader) string(limit int) (string, error) {
	start := r.at
	raw, err := r.raw()
	if err != nil {
		return "", err
	}
	if len(raw) > limit {
		return "", r.fail(reward.ErrInvalidValue, "%d bytes, limit %d", len(raw), limit)
	}
	var s string
	if err := json.Unmarshal(r.text[start:r.at], &s); err != nil {
		return "", r.fail(reward.ErrMalformedBody, "a string is not valid")
	}
	return s, nil
}

// list reads an array or object of values between two brackets.
func (r *jsonReader) list(begin, end byte, value func() error) error {
	if err := r.take(begin); err != nil {
		return err
	}
	if r.next() == end {
		r.at++
		return nil
	}
	for {
		if err := value(); err != nil {
			return err
		}
		if r.next() != ',' {
			return r.take(end)
		}
		r.at++
	}
}

// object reads an object and calls value for each key, which consumes the
// key's value.
func (r *jsonReader) object(value func(key string) error) error {
	return r.list('{', '}', func() error {
		key, err := r.string(256)
		if err != nil {
			return err
		}
		if err := r.take(':'); err != nil {
			return err
		}
		return value(key)
	})
}

// skip passes over one value.
func (r *jsonReader) skip(depth int) error {
	if depth > maxJSONDepth {
		return r.fail(reward.ErrMalformedBody, "nested more than %d deep", maxJSONDepth)
	}
	inner := func() error { return r.skip(depth + 1) }
	switch c := r.next(); {
	case c == '{':
		return r.object(func(string) error { return inner() })
	case c == '[':
		return r.list('[', ']', inner)
	case c == '"':
		_, err := r.raw()
		return err
	case r.word("null"), r.word("true"), r.word("false"):
		return nil
	case c == '-' || (c >= '0' && c <= '9') || c == 'N' || c == 'I': // Python writes NaN and Infinity
		return r.number()
	}
	return r.fail(reward.ErrMalformedBody, "no value at byte %d", r.at)
}

// maxNumber is longer than any number that means something.
const maxNumber = 64

// number passes over a number, or one of the names that Python writes for
// those that JSON lacks.
func (r *jsonReader) number() error {
	start := r.at
	for r.at < len(r.text) && r.at-start <= maxNumber && numeric(r.text[r.at]) {
		r.at++
	}
	switch text := r.text[start:r.at]; {
	case len(text) > maxNumber:
		return r.fail(reward.ErrMalformedBody, "a number of more than %d digits", maxNumber)
	case string(text) == "NaN", string(text) == "Infinity", string(text) == "-Infinity", json.Valid(text):
		return nil
	default:
		return r.fail(reward.ErrMalformedBody, "%q is not a number", text)
	}
}

// numeric reports whether c can be part of a number or its name.
func numeric(c byte) bool {
	return c >= '0' && c <= '9' || c == '-' || c == '+' || c == '.' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// end fails if anything but space is left.
func (r *jsonReader) end() error {
	if r.next() != 0 || r.at < len(r.text) {
		return r.fail(reward.ErrMalformedBody, "%d bytes follow the value", len(r.text)-r.at)
	}
	return nil
}
