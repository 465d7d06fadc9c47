package lines

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/relabel"
	"github.com/denseflow/densereward/reward/relabel/compress"
)

// CSV is a file of comma-separated values whose first line names the columns.
type CSV struct{}

var _ relabel.Format = CSV{}

// Open reads the first line.
func (CSV) Open(ctx context.Context, s relabel.Store, name string, columns relabel.Columns) (relabel.Reader, error) {
	r, err := openCSV(ctx, s, name, columns)
	if err != nil {
		return nil, err
	}
	for _, of := range [][]string{named(columns.Image, imageNames), named(columns.Prompt, promptNames)} {
		if !slices.ContainsFunc(of, func(name string) bool { return slices.Contains(r.header, name) }) {
			return nil, errors.Join(fmt.Errorf("none of %q is among the columns %q", of, r.header), r.Close())
		}
	}
	return r, nil
}

func openCSV(ctx context.Context, s relabel.Store, name string, columns relabel.Columns) (*csvReader, error) {
	source, err := s.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	stream, err := compress.NewReader(source, name)
	if err != nil {
		return nil, err
	}
	r := &csvReader{name: name, columns: columns, stream: stream, images: images{ctx, s, name}}
	r.rows = csv.NewReader(skipMark(bufio.NewReader(stream)))
	if r.header, err = r.rows.Read(); err != nil {
		return nil, errors.Join(fmt.Errorf("the line that names the columns: %w", err), stream.Close())
	}
	return r, nil
}

func named(name string, usual []string) []string {
	if name != "" {
		return []string{name}
	}
	return usual
}

type csvReader struct {
	name    string
	columns relabel.Columns
	stream  *compress.Reader
	rows    *csv.Reader
	header  []string
	images  images
}

// csvRow is what a record's Row holds.
type csvRow []string

func (r *csvReader) Next() (*relabel.Record, error) {
	row, err := r.rows.Read()
	if errors.Is(err, csv.ErrFieldCount) || errors.Is(err, csv.ErrBareQuote) {
		return r.broken(row, err), nil
	}
	if err != nil {
		return nil, err
	}
	line, _ := r.rows.FieldPos(0)
	record := r.images.record(fmt.Sprintf("line %d", line), r.columns, func(field string) (string, bool) {
		at := slices.Index(r.header, field)
		if at < 0 {
			return "", false
		}
		return row[at], row[at] != "" // an empty cell is how null is written
	})
	for _, name := range r.columns.Metadata {
		if at := slices.Index(r.header, name); at >= 0 {
			record.Keep(name, row[at])
		}
	}
	record.Row = csvRow(row)
	return record, nil
}

// broken is the record of a line that is no row: it keeps the cells that have a
// column.
func (r *csvReader) broken(row []string, err error) *relabel.Record {
	var at *csv.ParseError
	line := 0
	if errors.As(err, &at) {
		line = at.Line
	}
	cells := make(csvRow, len(r.header))
	copy(cells, row)
	return &relabel.Record{
		Name: fmt.Sprintf("line %d", line), Row: cells,
		Err: reward.ErrInvalidValue.With("%v; the first line names %d columns", err, len(r.header)),
	}
}

func (r *csvReader) Position() int64 { return r.stream.Position() }
func (r *csvReader) Close() error    { return r.stream.Close() }

// Writer makes the output of the shard.
func (r *csvReader) Writer(w io.Writer, beside relabel.Beside, labels relabel.Labels) (relabel.Writer, error) {
	if err := labels.CheckCollision(r.header); err != nil {
		return nil, err
	}
	out, err := compress.NewWriter(w, r.name)
	if err != nil {
		return nil, err
	}
	c := &csvWriter{out: out, rows: csv.NewWriter(out), labels: labels, maps: newMapFiles(r.name, beside, labels)}
	return c, c.rows.Write(append(slices.Clone(r.header), labels.Columns()...))
}

type csvWriter struct {
	out    io.WriteCloser
	rows   *csv.Writer
	labels relabel.Labels
	maps   *mapFiles
}

// Write adds a row.
func (w *csvWriter) Write(record *relabel.Record, label *relabel.Label) error {
	row, ok := record.Row.(csvRow)
	if !ok {
		return fmt.Errorf("csv: %s is not of this format", record.Name)
	}
	fields, err := w.labels.Fields(label)
	if err != nil {
		return err
	}
	maps, err := w.maps.add(label)
	if err != nil {
		return err
	}
	out := slices.Clone(row)
	for _, f := range append(fields, maps...) {
		cell := string(f.Value)
		var text string
		if cell == "null" {
			cell = ""
		} else if json.Unmarshal(f.Value, &text) == nil {
			cell = text
		}
		out = append(out, cell)
	}
	return w.rows.Write(out)
}

func (w *csvWriter) Close() error {
	w.rows.Flush()
	return errors.Join(w.rows.Error(), w.out.Close())
}
