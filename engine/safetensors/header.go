package safetensors

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

const (
	// maxHeaderBytes is the largest header or index that is read.
	maxHeaderBytes = 100 << 20
	// maxRank is the largest number of dimensions; torch's own limit.
	maxRank = 64

	lengthBytes = 8
	metadataKey = "__metadata__"
)

// A FormatError tells what is wrong with a file, and with which tensor of it.
type FormatError struct {
	Path   string // the file
	Tensor string // "" if the fault is not one tensor's
	Reason string
}

// Error names the file, the tensor and the fault.
func (e *FormatError) Error() string {
	if e.Tensor == "" {
		return fmt.Sprintf("safetensors: %s: %s", e.Path, e.Reason)
	}
	return fmt.Sprintf("safetensors: %s: tensor %q: %s", e.Path, e.Tensor, e.Reason)
}

// tensorError is a FormatError before its file is known.
func tensorError(name, format string, args ...any) error {
	return &FormatError{Tensor: name, Reason: fmt.Sprintf(format, args...)}
}

// at completes err with the file it concerns.
func at(path string, err error) error {
	var format *FormatError
	if errors.As(err, &format) {
		return &FormatError{Path: path, Tensor: format.Tensor, Reason: format.Reason}
	}
	return fmt.Errorf("safetensors: %s: %w", path, err)
}

// entry is what a header says of one tensor. begin and end count from the end
// of the header.
type entry struct {
	name       string
	dtype      DType
	shape      []int64
	begin, end int64
}

// readHeader reads and checks the header of a file of size bytes. dataStart is
// the offset of the first byte after the header. Entries are in the order of
// their data.
func readHeader(r io.Reader, size int64) (entries []entry, metadata map[string]string, dataStart int64, err error) {
	var prefix [lengthBytes]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return nil, nil, 0, tensorError("", "%d bytes are too few for a header", size)
	}
	var n uint64
	for i, b := range prefix {
		n |= uint64(b) << (8 * i)
	}
	if n > maxHeaderBytes {
		return nil, nil, 0, tensorError("", "header of %d bytes exceeds the limit of %d", n, maxHeaderBytes)
	}
	if int64(n) > size-lengthBytes {
		return nil, nil, 0, tensorError("", "header of %d bytes in a file of %d", n, size)
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, nil, 0, fmt.Errorf("read header: %w", err)
	}
	entries, metadata, err = parseHeader(data)
	if err != nil {
		return nil, nil, 0, err
	}
	dataStart = lengthBytes + int64(n)
	if err := checkLayout(entries, size-dataStart); err != nil {
		return nil, nil, 0, err
	}
	return entries, metadata, dataStart, nil
}

// parseHeader reads the JSON of a header. Entries are checked one by one but
// not against each other.
func parseHeader(data []byte) ([]entry, map[string]string, error) {
	// The format demands that the brace comes first; encoding/json would skip
	// white space, and would replace bytes that are not UTF-8.
	if len(data) == 0 || data[0] != '{' {
		return nil, nil, tensorError("", "header does not begin with {")
	}
	if !utf8.Valid(data) {
		return nil, nil, tensorError("", "header is not UTF-8")
	}
	s := newScanner(data)
	var entries []entry
	var metadata map[string]string
	seen := map[string]bool{}
	err := s.object("header", func(name string) error {
		if seen[name] {
			return tensorError(name, "named twice in the header")
		}
		seen[name] = true
		if name == metadataKey {
			var err error
			metadata, err = s.strings(metadataKey)
			return err
		}
		e, err := s.entry(name)
		if err != nil {
			var format *FormatError
			if !errors.As(err, &format) {
				err = tensorError(name, "%v", err)
			}
			return err
		}
		entries = append(entries, e)
		return nil
	})
	if err == nil {
		err = s.end()
	}
	if err != nil {
		var format *FormatError
		if !errors.As(err, &format) {
			err = tensorError("", "header: %v", err)
		}
		return nil, nil, err
	}
	return entries, metadata, nil
}

// checkLayout sorts entries by their place and checks that they tile exactly
// the dataBytes after the header.
func checkLayout(entries []entry, dataBytes int64) error {
	slices.SortStableFunc(entries, func(a, b entry) int {
		// An empty tensor comes before the one that begins at its place.
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end))
	})
	var reached int64
	for _, e := range entries {
		switch {
		case e.end > dataBytes:
			return tensorError(e.name, "ends at byte %d of %d: past the end of the file", e.end, dataBytes)
		case e.begin < reached:
			return tensorError(e.name, "begins at byte %d inside another tensor, which ends at %d: overlap", e.begin, reached)
		case e.begin > reached:
			return tensorError(e.name, "begins at byte %d after a hole that begins at %d", e.begin, reached)
		}
		reached = e.end
	}
	if reached != dataBytes {
		return tensorError("", "%d bytes after the last tensor belong to none", dataBytes-reached)
	}
	return nil
}

// ByteLength is the size of a tensor, or an error if it has a fraction of a
// byte or does not fit int64.
func ByteLength(d DType, shape []int64) (int64, error) {
	bits := int64(d.Bits())
	if bits == 0 {
		return 0, fmt.Errorf("unknown dtype %q", string(d))
	}
	n := int64(1)
	for _, dim := range shape {
		if dim < 0 {
			return 0, fmt.Errorf("shape %v has a negative dimension", shape)
		}
		if dim > 0 && n > math.MaxInt64/dim {
			return 0, fmt.Errorf("shape %v has too many elements", shape)
		}
		n *= dim
	}
	if n > math.MaxInt64/bits {
		return 0, fmt.Errorf("shape %v of %s has too many bytes", shape, d)
	}
	if n*bits%8 != 0 {
		return 0, fmt.Errorf("shape %v of %s does not fill whole bytes", shape, d)
	}
	return n * bits / 8, nil
}

// scanner reads the little JSON that headers and indexes consist of. It goes
// token by token because encoding/json would let a repeated key replace an
// earlier one, and would match keys in any case.
type scanner struct{ dec *json.Decoder }

func newScanner(data []byte) scanner {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	return scanner{dec}
}

// object reads an object and calls value for each key, which reads the value.
func (s scanner) object(what string, value func(key string) error) error {
	if err := s.delim('{', what); err != nil {
		return err
	}
	for s.dec.More() {
		key, err := s.string("a key of " + what)
		if err != nil {
			return err
		}
		if err := value(key); err != nil {
			return err
		}
	}
	return s.delim('}', what)
}

// entry reads one tensor's object and checks it on its own.
func (s scanner) entry(name string) (entry, error) {
	e := entry{name: name}
	var offsets []int64
	var seen [3]bool
	err := s.object("the tensor", func(key string) (err error) {
		field := slices.Index([]string{"dtype", "shape", "data_offsets"}, key)
		if field < 0 {
			return fmt.Errorf("unknown key %q", key)
		}
		if seen[field] {
			return fmt.Errorf("key %q occurs twice", key)
		}
		seen[field] = true
		switch field {
		case 0:
			var d string
			d, err = s.string("dtype")
			e.dtype = DType(d)
		case 1:
			e.shape, err = s.integers("shape", maxRank)
		case 2:
			offsets, err = s.integers("data_offsets", 2)
		}
		return err
	})
	if err != nil {
		return entry{}, err
	}
	if seen != [3]bool{true, true, true} {
		return entry{}, errors.New("one of dtype, shape and data_offsets is missing")
	}
	if len(offsets) != 2 || offsets[0] > offsets[1] {
		return entry{}, fmt.Errorf("data_offsets %v are not a range", offsets)
	}
	e.begin, e.end = offsets[0], offsets[1]
	length, err := ByteLength(e.dtype, e.shape)
	if err != nil {
		return entry{}, err
	}
	if length != e.end-e.begin {
		return entry{}, fmt.Errorf("shape %v of %s needs %d bytes, data_offsets give %d",
			e.shape, e.dtype, length, e.end-e.begin)
	}
	return e, nil
}

// strings reads an object whose values are strings.
func (s scanner) strings(what string) (map[string]string, error) {
	m := map[string]string{}
	err := s.object(what, func(key string) error {
		if _, ok := m[key]; ok {
			return tensorError(key, "named twice in %s", what)
		}
		v, err := s.string(what)
		m[key] = v
		return err
	})
	return m, err
}

// integers reads an array of at most limit integers that are not negative.
func (s scanner) integers(what string, limit int) ([]int64, error) {
	if err := s.delim('[', what); err != nil {
		return nil, err
	}
	list := []int64{}
	for s.dec.More() {
		if len(list) == limit {
			return nil, fmt.Errorf("%s has more than %d numbers", what, limit)
		}
		token, err := s.dec.Token()
		if err != nil {
			return nil, err
		}
		number, ok := token.(json.Number)
		if !ok {
			return nil, fmt.Errorf("%s holds %v, not a number", what, token)
		}
		v, err := strconv.ParseUint(number.String(), 10, 63)
		if err != nil {
			return nil, fmt.Errorf("%s holds %s, not an integer of 0 to 2^63-1", what, number)
		}
		list = append(list, int64(v))
	}
	return list, s.delim(']', what)
}

func (s scanner) string(what string) (string, error) {
	token, err := s.dec.Token()
	if err != nil {
		return "", err
	}
	v, ok := token.(string)
	if !ok {
		return "", fmt.Errorf("%s is %v, not a string", what, token)
	}
	return v, nil
}

func (s scanner) delim(want json.Delim, what string) error {
	token, err := s.dec.Token()
	if err != nil {
		return err
	}
	if token != want {
		return fmt.Errorf("%s has %v where %v belongs", what, token, want)
	}
	return nil
}

// skip reads over one value of any kind.
func (s scanner) skip() error {
	var raw json.RawMessage
	return s.dec.Decode(&raw)
}

// end checks that nothing but white space is left.
func (s scanner) end() error {
	if _, err := s.dec.Token(); err != io.EOF {
		return errors.New("something follows the closing brace")
	}
	return nil
}
