package parquet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/relabel"
)

// Format is Parquet.
type Format struct{}

var _ relabel.Format = Format{}

// The usual names of columns, in the order in which they are looked for.
var (
	imageNames  = []string{"image", "img", "jpg", "png", "webp", "latents"}
	promptNames = []string{"prompt", "caption", "text"}
)

// Open reads the footer. It fails if a column is not there or of another type.
func (Format) Open(ctx context.Context, s relabel.Store, path string, columns relabel.Columns) (relabel.Reader, error) {
	source, err := s.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	r, err := newReader(source, columns)
	if err != nil {
		return nil, errors.Join(err, source.Close())
	}
	return r, nil
}

func newReader(source relabel.Object, columns relabel.Columns) (*reader, error) {
	file, err := parquet.OpenFile(source, source.Size(),
		parquet.SkipBloomFilters(true), parquet.SkipPageIndex(true), parquet.ReadBufferSize(1<<20))
	if err != nil {
		return nil, err
	}
	r := &reader{source: source, file: file, groups: file.RowGroups()}
	image, err := find(file, "image", columns.Image, imageNames)
	if err != nil {
		return nil, err
	}
	prompt, err := find(file, "prompt", columns.Prompt, promptNames)
	if err != nil {
		return nil, err
	}
	if !image.Leaf() {
		if image = image.Column("bytes"); image == nil {
			return nil, errors.New("the image column is neither bytes nor a struct with bytes")
		}
	}
	for _, c := range []*parquet.Column{image, prompt} {
		if !c.Leaf() || c.Type().Kind() != parquet.ByteArray || c.MaxRepetitionLevel() > 0 {
			return nil, fmt.Errorf("column %s does not hold one string or bytes for each row", c.Name())
		}
	}
	r.image, r.prompt = image.Index(), prompt.Index()
	r.metadata = map[int]string{}
	for _, name := range columns.Metadata {
		c, err := find(file, "metadata", name, nil)
		if err != nil {
			return nil, err
		}
		if !c.Leaf() || c.MaxRepetitionLevel() > 0 {
			return nil, fmt.Errorf("column %s does not hold one value for each row", name)
		}
		r.metadata[c.Index()] = name
	}
	return r, nil
}

// find returns a top-level column.
func find(file *parquet.File, what, name string, usual []string) (*parquet.Column, error) {
	if name != "" {
		usual = []string{name}
	}
	var there []string
	for _, c := range file.Root().Columns() {
		there = append(there, c.Name())
	}
	for _, name := range usual {
		if slices.Contains(there, name) {
			return file.Root().Column(name), nil
		}
	}
	return nil, fmt.Errorf("no %s column: none of %q is among %q", what, usual, there)
}

type reader struct {
	source        relabel.Object
	file          *parquet.File
	image, prompt int // leaf columns
	metadata      map[int]string
	groups        []parquet.RowGroup
	group         int // the next one
	rows          parquet.Rows
	ended         bool // buffer holds the last of rows, which must stay open for it
	buffer        []parquet.Row
	next, filled  int
	count         int64 // records read
}

// row is what a record's Row holds.
type row struct {
	values parquet.Row
	last   bool // of its row group
}

// batchRows are read from the file at a time: each may be megabytes.
const batchRows = 8

// Next returns the next row.
func (r *reader) Next() (*relabel.Record, error) {
	for r.next == r.filled {
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
	values := r.buffer[r.next].Clone()
	r.next++
	record := &relabel.Record{Name: fmt.Sprintf("row %d", r.count)}
	r.count++
	var image []byte
	hasPrompt := false
	for _, v := range values {
		switch v.Column() {
		case r.image:
			image = v.ByteArray()
		case r.prompt:
			record.Prompt, hasPrompt = string(v.ByteArray()), !v.IsNull()
		}
		if name, wanted := r.metadata[v.Column()]; wanted && !v.IsNull() {
			record.Keep(name, metadataOf(v))
		}
	}
	switch {
	case image == nil:
		record.Err = reward.ErrMissingField.With("the row has no image bytes")
	case !hasPrompt:
		record.Err = reward.ErrMissingField.With("the row has no prompt")
	}
	record.Load = func() ([]byte, error) { return image, nil }
	record.Row = &row{values: values, last: r.next == r.filled && r.ended}
	return record, nil
}

// metadataOf is a value as evaluators take it.
func metadataOf(v parquet.Value) any {
	switch v.Kind() {
	case parquet.Boolean:
		return v.Boolean()
	case parquet.Int32:
		return int64(v.Int32())
	case parquet.Int64:
		return v.Int64()
	case parquet.Float:
		return float64(v.Float())
	case parquet.Double:
		return v.Double()
	}
	return string(v.ByteArray())
}

// fill reads more rows, of the next group where one has ended.
func (r *reader) fill() error {
	if r.ended {
		if err := r.closeRows(); err != nil {
			return err
		}
	}
	if r.rows == nil {
		if r.group == len(r.groups) {
			if r.count != r.file.NumRows() {
				return fmt.Errorf("%d rows, where the footer says %d", r.count, r.file.NumRows())
			}
			return io.EOF
		}
		r.rows = r.groups[r.group].Rows()
		r.group++
		r.buffer = make([]parquet.Row, batchRows)
	}
	n, err := r.rows.ReadRows(r.buffer)
	r.next, r.filled = 0, n
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	r.ended = errors.Is(err, io.EOF) || r.count+int64(n) == r.groupEnd()
	if n == 0 && !r.ended {
		return io.ErrNoProgress
	}
	return nil
}

// groupEnd is the number of rows up to the end of the group that is being read.
func (r *reader) groupEnd() int64 {
	var n int64
	for _, g := range r.groups[:r.group] {
		n += g.NumRows()
	}
	return n
}

// Position is the share of rows that were read, in bytes.
func (r *reader) Position() int64 {
	if r.file.NumRows() == 0 {
		return r.source.Size()
	}
	return int64(float64(r.source.Size()) * float64(r.count) / float64(r.file.NumRows()))
}

func (r *reader) Close() error {
	return errors.Join(r.closeRows(), r.source.Close())
}

func (r *reader) closeRows() error {
	if r.rows == nil {
		return nil
	}
	err := r.rows.Close()
	r.rows, r.ended = nil, false
	return err
}
