package parquet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/relabel"
)

type Format struct{}

var _ relabel.Format = Format{}

// The usual names of columns, in the order in which they are looked for.
var (
	imageNames  = []string{"image", "img", "jpg", "png", "webp", "latents", "file_name", "image_path", "path"}
	promptNames = []string{"prompt", "caption", "text"}
)

// Open reads the footer. It fails if a column is not there or of another type.
func (Format) Open(ctx context.Context, s relabel.Store, path string, columns relabel.Columns) (relabel.Reader, error) {
	source, err := s.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	r, err := newReader(source, columns)
	if err == nil {
		r.beside = func(file string) ([]byte, error) { return relabel.LoadBeside(ctx, s, path, file) }
	}
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
	r := &reader{source: source, file: file, rows: rows{file: file, source: source}}
	image, err := find(file, "image", columns.Image, imageNames)
	if err != nil {
		return nil, err
	}
	prompt, err := find(file, "prompt", columns.Prompt, promptNames)
	if err != nil {
		return nil, err
	}
	if err := r.findImage(image); err != nil {
		return nil, err
	}
	if r.prompt, err = leaf(prompt); err != nil {
		return nil, err
	}
	if err := checkCompression(file); err != nil {
		return nil, err
	}
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

// findImage finds the leaves of the images' bytes and paths.
func (r *reader) findImage(c *parquet.Column) (err error) {
	r.image, r.path = -1, -1
	if c.Leaf() {
		if _, text := logicalType(c).(*format.StringType); text {
			r.path, err = leaf(c)
		} else {
			r.image, err = leaf(c)
		}
		return err
	}
	if bytes := c.Column("bytes"); bytes == nil {
		return fmt.Errorf("the image column %s is neither bytes nor paths nor a struct with bytes", c.Name())
	} else if r.image, err = leaf(bytes); err != nil {
		return err
	}
	if path := c.Column("path"); path != nil && logicalType(path) != nil {
		if _, null := logicalType(path).(*format.NullType); !null {
			r.path, err = leaf(path)
		}
	}
	return err
}

// leaf is the index of a column of strings or bytes.
func leaf(c *parquet.Column) (int, error) {
	if !c.Leaf() || c.Type().Kind() != parquet.ByteArray || c.MaxRepetitionLevel() > 0 {
		return -1, fmt.Errorf("column %s does not hold one string or bytes for each row", c.Name())
	}
	return c.Index(), nil
}

func logicalType(c *parquet.Column) any {
	if !c.Leaf() || c.Type().LogicalType() == nil {
		return nil
	}
	return c.Type().LogicalType().Value
}

// checkCompression refuses what the library decodes wrongly: it loses the data of
// an LZ4 page unless it guesses its size.
func checkCompression(file *parquet.File) error {
	for _, g := range file.Metadata().RowGroups {
		for _, c := range g.Columns {
			if c.MetaData.Codec == format.Lz4Raw {
				return fmt.Errorf("column %s is compressed with LZ4, which cannot be read; zstd, snappy, gzip, brotli and none can", strings.Join(c.MetaData.PathInSchema, "."))
			}
		}
	}
	return nil
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
	source      relabel.Object
	file        *parquet.File
	image, path int // leaf columns, -1 for none
	prompt      int
	beside      func(path string) ([]byte, error) // reads a file that the shard names
	metadata    map[int]string
	rows        rows
}

// row is what a record's Row holds.
type row struct {
	values parquet.Row
	last   bool // of its row group
}

func (r *reader) Next() (*relabel.Record, error) {
	values, err := r.rows.next()
	if err != nil {
		return nil, err
	}
	record := &relabel.Record{Name: fmt.Sprintf("row %d", r.rows.count-1)}
	var image []byte
	var path string
	hasPrompt := false
	for _, v := range values {
		switch v.Column() {
		case r.image:
			if !v.IsNull() {
				image = v.ByteArray()
			}
		case r.path:
			path = string(v.ByteArray())
		case r.prompt:
			record.Prompt, hasPrompt = string(v.ByteArray()), !v.IsNull()
		}
		if name, wanted := r.metadata[v.Column()]; wanted && !v.IsNull() {
			record.Keep(name, metadataOf(v))
		}
	}
	switch {
	case image == nil && path == "":
		record.Err = reward.ErrMissingField.With("the row has neither bytes nor a path of an image")
	case !hasPrompt:
		record.Err = reward.ErrMissingField.With("the row has no prompt")
	}
	record.Load = func() ([]byte, error) {
		if image == nil {
			return r.beside(path)
		}
		return image, nil
	}
	record.Row = &row{values: values, last: r.rows.group.rows == 0}
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

// Position is the share of rows that were read, in bytes.
func (r *reader) Position() int64 {
	if r.file.NumRows() == 0 {
		return r.source.Size()
	}
	return int64(float64(r.source.Size()) * float64(r.rows.count) / float64(r.file.NumRows()))
}

func (r *reader) Close() error {
	return errors.Join(r.rows.close(), r.source.Close())
}
