package lines

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"

	"github.com/denseflow/densereward/reward/relabel"
)

// ReadRows visits the rows of a shard of one of this package's formats. Numbers
// are float64, also those of CSV, whose empty cells are nil and whose lists are
// decoded; load reads a file whose path is relative to the shard.
func ReadRows(ctx context.Context, format relabel.Format, s relabel.Store, name string, visit func(fields map[string]any, load func(string) ([]byte, error)) error) error {
	var next func() (map[string]any, error)
	reader, err := openRows(ctx, format, s, name)
	if err != nil {
		return err
	}
	defer reader.Close() //nolint:errcheck // it was only read
	folder := path.Dir(name)
	switch r := reader.(type) {
	case *csvReader:
		next = r.fields
	case *folderReader:
		folder, next = r.folder, jsonFields(r)
	default:
		next = jsonFields(r)
	}
	load := func(file string) ([]byte, error) {
		if !path.IsAbs(file) {
			file = path.Join(folder, file)
		}
		return relabel.ReadFile(ctx, s, file)
	}
	for {
		fields, err := next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := visit(fields, load); err != nil {
			return err
		}
	}
}

// openRows opens a shard whatever its columns are.
func openRows(ctx context.Context, format relabel.Format, s relabel.Store, name string) (relabel.Reader, error) {
	if _, ok := format.(CSV); ok {
		return openCSV(ctx, s, name, relabel.Columns{})
	}
	return format.Open(ctx, s, name, relabel.Columns{})
}

func jsonFields(r relabel.Reader) func() (map[string]any, error) {
	return func() (map[string]any, error) {
		record, err := r.Next()
		if err != nil {
			return nil, err
		}
		var fields map[string]any
		row, ok := record.Row.(jsonlRow)
		if !ok {
			return nil, fmt.Errorf("%s is no JSON object", record.Name)
		}
		if row == nil {
			return nil, record.Err
		}
		return fields, json.Unmarshal(row, &fields)
	}
}

func (r *csvReader) fields() (map[string]any, error) {
	row, err := r.rows.Read()
	if err != nil {
		return nil, err
	}
	fields := make(map[string]any, len(row))
	for i, cell := range row {
		fields[r.header[i]] = cellValue(cell)
	}
	return fields, nil
}

func cellValue(cell string) any {
	if cell == "" {
		return nil
	}
	if v, err := strconv.ParseFloat(cell, 64); err == nil {
		return v
	}
	var list []any
	if cell[0] == '[' && json.Unmarshal([]byte(cell), &list) == nil {
		return list
	}
	return cell
}
