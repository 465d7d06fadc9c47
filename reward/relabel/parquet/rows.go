package parquet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"

	"github.com/denseflow/densereward/reward/relabel"
)

// ReadRows visits the rows of a shard, of which one is in memory at a time. Fields are
// as JSON has them, and bytes where a column holds no text; maps is how the shard says
// that maps are stored, "" where it does not.
func ReadRows(ctx context.Context, s relabel.Store, name string, visit func(fields map[string]any, maps relabel.MapType) error) (err error) {
	source, err := s.Open(ctx, name)
	if err != nil {
		return err
	}
	defer source.Close() //nolint:errcheck // it was only read
	file, err := parquet.OpenFile(source, source.Size(), parquet.SkipBloomFilters(true), parquet.SkipPageIndex(true), parquet.ReadBufferSize(readAhead))
	if err != nil {
		return err
	}
	if err := checkCompression(file); err != nil {
		return err
	}
	maps, text := mapTypeOf(file), map[string]bool{}
	textColumns(file.Root(), "", text)
	all := rows{file: file, source: source}
	defer func() { err = errors.Join(err, all.close()) }()
	for {
		row, err := all.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var one any
		if err := file.Schema().Reconstruct(&one, row); err != nil {
			return err
		}
		fields, ok := plain(one, "", text).(map[string]any)
		if !ok {
			return fmt.Errorf("a row is a %T", one)
		}
		if err := visit(fields, maps); err != nil {
			return err
		}
	}
}

// mapTypeOf reads what Writer wrote of maps.
func mapTypeOf(file *parquet.File) relabel.MapType {
	text, _ := file.Lookup("densereward")
	var about struct {
		Maps struct {
			DType relabel.MapType `json:"dtype"`
		} `json:"maps"`
	}
	if json.Unmarshal([]byte(text), &about) != nil {
		return ""
	}
	return about.Maps.DType
}

// textColumns finds the leaves that hold text rather than bytes.
func textColumns(c *parquet.Column, path string, text map[string]bool) {
	for _, child := range c.Columns() {
		at := path + "/" + child.Name()
		if child.Leaf() {
			logical := child.Type().LogicalType()
			text[at] = logical != nil && logical.Value != nil
		}
		textColumns(child, at, text)
	}
}

// plain makes JSON's types of parquet-go's, and lists of the groups in which
// Parquet keeps them.
func plain(value any, path string, text map[string]bool) any {
	switch v := value.(type) {
	case map[string]any:
		if elements, ok := v["list"].([]any); ok && len(v) == 1 {
			list := make([]any, len(elements))
			for i, e := range elements {
				if one, ok := e.(map[string]any); ok && len(one) == 1 {
					for name, inner := range one {
						list[i] = plain(inner, path+"/list/"+name, text)
					}
				}
			}
			return list
		}
		out := make(map[string]any, len(v))
		for name, one := range v {
			out[name] = plain(one, path+"/"+name, text)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, one := range v {
			out[i] = plain(one, path, text)
		}
		return out
	case string:
		if !text[path] {
			return []byte(v)
		}
		return v
	case int32:
		return float64(v)
	case int64:
		return float64(v)
	case float32:
		return float64(v)
	}
	return value
}
