package webdataset

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/relabel"
	"github.com/denseflow/densereward/reward/relabel/compress"
)

// Format is webdataset's.
type Format struct{}

var _ relabel.Format = Format{}

// The usual columns, in the order in which they are looked for.
var (
	imageNames  = []string{"jpg", "jpeg", "png", "webp", "npy", "safetensors"}
	promptNames = []string{"prompt", "caption", "text"} // in the JSON object
)

const (
	promptExtension = "txt"
	jsonExtension   = "json"
)

func (Format) Open(ctx context.Context, s relabel.Store, name string, columns relabel.Columns) (relabel.Reader, error) {
	source, err := s.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	stream, err := compress.NewReader(source, compression(name))
	if err != nil {
		return nil, err
	}
	r := &reader{name: name, columns: columns, stream: stream}
	r.zeros.Reader = stream
	r.archive = tar.NewReader(&r.zeros)
	return r, nil
}

// compression is name with .tgz spelled out.
func compression(name string) string {
	if strings.HasSuffix(name, ".tgz") {
		return name + ".gz"
	}
	return name
}

type reader struct {
	name    string
	columns relabel.Columns
	stream  *compress.Reader
	zeros   zeroCounter
	archive *tar.Reader
	ahead   *member // read, and of the next sample
	ended   bool
}

// member is one file of the archive.
type member struct {
	header    *tar.Header
	data      []byte
	key       string // "" for a file that belongs to no sample
	extension string
}

// sample is what a record's Row holds: its members and those of no sample that
// came between.
type sample struct {
	key     string
	members []*member
}

func (s *sample) find(extension string) *member {
	for _, m := range s.members {
		if m.key != "" && m.extension == extension {
			return m
		}
	}
	return nil
}

// twice is an extension that the sample has more than once, "" for none; webdataset
// itself fails there.
func (s *sample) twice() string {
	seen := map[string]bool{}
	for _, m := range s.members {
		if m.key != "" && seen[m.extension] {
			return m.extension
		}
		seen[m.extension] = m.key != ""
	}
	return ""
}

// maxMember bounds a file of the archive, which is held in memory.
const maxMember = 1 << 30

func (r *reader) Next() (*relabel.Record, error) {
	s := &sample{}
	for {
		m, err := r.member()
		if errors.Is(err, io.EOF) && s.key != "" {
			break
		}
		if err != nil {
			return nil, err
		}
		if m.key != "" && s.key != "" && m.key != s.key {
			r.ahead = m
			break
		}
		if m.key != "" {
			s.key = m.key
		}
		s.members = append(s.members, m)
	}
	return r.record(s), nil
}

// member reads the next file.
func (r *reader) member() (*member, error) {
	if m := r.ahead; m != nil {
		r.ahead = nil
		return m, nil
	}
	if r.ended {
		return nil, io.EOF
	}
	header, err := r.archive.Next()
	if errors.Is(err, io.EOF) && r.zeros.count < endMarker {
		return nil, errors.New("the archive has no end: it was cut short")
	}
	if errors.Is(err, io.EOF) {
		r.ended = true
		if err := r.stream.CheckEnd(); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	if header.Size > maxMember {
		return nil, fmt.Errorf("%s has %d bytes, the limit is %d", header.Name, header.Size, maxMember)
	}
	m := &member{header: header}
	if m.data, err = io.ReadAll(r.archive); err != nil {
		return nil, fmt.Errorf("%s: %w", header.Name, err)
	}
	m.key, m.extension = split(header)
	return m, nil
}

// endMarker is the zeros at the end of an archive. The library takes one that
// stops anywhere between two files for complete.
const endMarker = 1024

// zeroCounter counts the zero bytes that were read last.
type zeroCounter struct {
	io.Reader
	count int
}

func (z *zeroCounter) Read(p []byte) (int, error) {
	n, err := z.Reader.Read(p)
	tail := len(bytes.TrimRight(p[:n], "\x00"))
	if tail > 0 {
		z.count = 0
	}
	z.count += n - tail
	return n, err
}

// split is webdataset's base_plus_ext; names that begin with two underscores are
// its own.
func split(header *tar.Header) (key, extension string) {
	folder, base := path.Split(header.Name)
	stem, extension, dotted := strings.Cut(base, ".")
	if header.Typeflag != tar.TypeReg || !dotted || stem == "" || strings.HasPrefix(header.Name, "__") {
		return "", ""
	}
	return folder + stem, strings.ToLower(extension)
}

func (r *reader) record(s *sample) *relabel.Record {
	record := &relabel.Record{Name: s.key, Row: s}
	if twice := s.twice(); twice != "" { // two samples of one key, perhaps
		record.Err = reward.ErrInvalidValue.With("the sample has two files .%s", twice)
		return record
	}
	image := r.image(s)
	if image == nil {
		record.Err = reward.ErrMissingField.With("the sample has no image")
		return record
	}
	var ok bool
	if record.Prompt, ok = r.prompt(s); !ok {
		record.Err = reward.ErrMissingField.With("the sample has no prompt")
		return record
	}
	if m := s.find(jsonExtension); m != nil && object(m.data) == nil {
		record.Err = reward.ErrInvalidValue.With("%s is no JSON object", m.header.Name)
		return record
	}
	r.keepMetadata(record, s)
	record.Load = func() ([]byte, error) { return image.data, nil }
	return record
}

func (r *reader) image(s *sample) *member {
	if r.columns.Image != "" {
		return s.find(strings.ToLower(r.columns.Image))
	}
	for _, extension := range imageNames {
		if m := s.find(extension); m != nil {
			return m
		}
	}
	return nil
}

func (r *reader) prompt(s *sample) (string, bool) {
	extension, names := promptExtension, promptNames
	if r.columns.Prompt != "" {
		extension, names = strings.ToLower(r.columns.Prompt), []string{r.columns.Prompt}
	}
	if m := s.find(extension); m != nil && extension != jsonExtension {
		return strings.TrimSpace(string(m.data)), true
	}
	m := s.find(jsonExtension)
	if m == nil {
		return "", false
	}
	members := object(m.data)
	for _, name := range names {
		var text *string
		if json.Unmarshal(members[name], &text) == nil && text != nil {
			return *text, true
		}
	}
	return "", false
}

// object is the members of a JSON object, nil for what is none.
func object(data []byte) map[string]json.RawMessage {
	var members map[string]json.RawMessage
	if json.Unmarshal(data, &members) != nil {
		return nil
	}
	return members
}

// keepMetadata takes members of the JSON object, and the text of files by their
// extensions.
func (r *reader) keepMetadata(record *relabel.Record, s *sample) {
	if len(r.columns.Metadata) == 0 {
		return
	}
	var members map[string]json.RawMessage
	if m := s.find(jsonExtension); m != nil {
		members = object(m.data)
	}
	for _, name := range r.columns.Metadata {
		if value, there := relabel.MetadataValue(members[name]); there {
			record.Keep(name, value)
		} else if m := s.find(strings.ToLower(name)); m != nil {
			record.Keep(name, strings.TrimSpace(string(m.data)))
		}
	}
}

func (r *reader) Position() int64 { return r.stream.Position() }
func (r *reader) Close() error    { return r.stream.Close() }
