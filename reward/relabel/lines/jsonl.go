package lines

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/relabel"
	"github.com/denseflow/densereward/reward/relabel/compress"
)

// JSONL is a file with a JSON object on each line.
type JSONL struct{}

var _ relabel.Format = JSONL{}

func (JSONL) Open(ctx context.Context, s relabel.Store, name string, columns relabel.Columns) (relabel.Reader, error) {
	source, err := s.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	stream, err := compress.NewReader(source, name)
	if err != nil {
		return nil, err
	}
	return &jsonlReader{
		name: name, columns: columns, stream: stream, lines: skipMark(bufio.NewReaderSize(stream, 1<<16)),
		images: images{ctx, s, name},
	}, nil
}

type jsonlReader struct {
	name    string
	columns relabel.Columns
	stream  *compress.Reader
	lines   *bufio.Reader
	images  images
	line    int
}

const maxLine = 64 << 20

// Next reads the next line that is not blank.
func (r *jsonlReader) Next() (*relabel.Record, error) {
	for {
		r.line++
		line, err := r.readLine()
		if len(line) == 0 && err != nil {
			return nil, err
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		var fields map[string]json.RawMessage
		if wrong := json.Unmarshal(line, &fields); wrong != nil || fields == nil {
			if wrong != nil && err != nil {
				return nil, fmt.Errorf("line %d, the last, was cut short: %w", r.line, wrong)
			}
			return r.broken(wrong), nil
		}
		record := r.images.record(fmt.Sprintf("line %d", r.line), r.columns, func(field string) (string, bool) {
			var text *string
			err := json.Unmarshal(fields[field], &text)
			if err != nil || text == nil {
				return "", false
			}
			return *text, true
		})
		for _, name := range r.columns.Metadata {
			if value, there := relabel.MetadataValue(fields[name]); there {
				record.Keep(name, value)
			}
		}
		if record.Err == nil && !utf8.Valid(line) { // the prompt would be another text
			record.Err = reward.ErrInvalidValue.With("the line is not UTF-8")
		}
		record.Row = jsonlRow(line)
		return record, nil
	}
}

// broken is the record of a line that is no JSON object, such as one with NaN in it:
// its row has the labels alone.
func (r *jsonlReader) broken(err error) *relabel.Record {
	if err == nil {
		err = errors.New("it is another value")
	}
	return &relabel.Record{
		Name: fmt.Sprintf("line %d", r.line), Row: jsonlRow(nil),
		Err: reward.ErrInvalidValue.With("line %d is no JSON object: %v", r.line, err),
	}
}

func (r *jsonlReader) readLine() ([]byte, error) {
	var line []byte
	for {
		part, err := r.lines.ReadSlice('\n')
		line = append(line, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
		if len(line) > maxLine {
			return nil, fmt.Errorf("line %d is longer than %d bytes", r.line, maxLine)
		}
	}
}

func (r *jsonlReader) Position() int64 { return r.stream.Position() }
func (r *jsonlReader) Close() error    { return r.stream.Close() }

// Writer makes the output of the shard.
func (r *jsonlReader) Writer(w io.Writer, beside relabel.Beside, labels relabel.Labels) (relabel.Writer, error) {
	return newJSONLWriter(w, r.name, beside, labels)
}

// jsonlRow is a JSON object in the source's own spelling, nil for what was none.
type jsonlRow []byte

type jsonlWriter struct {
	out    io.WriteCloser
	labels relabel.Labels
	maps   *mapFiles
}

func newJSONLWriter(w io.Writer, name string, beside relabel.Beside, labels relabel.Labels) (*jsonlWriter, error) {
	out, err := compress.NewWriter(w, name)
	return &jsonlWriter{out, labels, newMapFiles(name, beside, labels)}, err
}

// Write adds the labels behind the members of the source.
func (w *jsonlWriter) Write(record *relabel.Record, label *relabel.Label) error {
	row, ok := record.Row.(jsonlRow)
	if !ok {
		return fmt.Errorf("jsonl: %s is not of this format", record.Name)
	}
	maps, err := w.maps.add(label)
	if err != nil {
		return err
	}
	if row == nil {
		row = jsonlRow("{}")
	}
	line, err := w.labels.Merge(row, label, maps...)
	if err != nil {
		return fmt.Errorf("%s: %w", record.Name, err)
	}
	_, err = w.out.Write(append(line, '\n'))
	return err
}

func (w *jsonlWriter) Close() error { return w.out.Close() }
