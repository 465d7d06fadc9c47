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

// ReadRows visits the rows of a shard. Fields are as JSON has them, and bytes
// where a column holds no text; maps is how the shard says that maps are stored,
// "" where it does not.
func ReadRows(ctx context.Context, s relabel.Store, name string, visit func(fields map[string]any, maps relabel.MapType) error) error {
	source, err := s.Open(ctx, name)
	if err != nil {
		return err
	}
	defer source.Close() //nolint:errcheck // it was only read
	file, err := parquet.OpenFile(source, source.Size(), parquet.SkipBloomFilters(true), parquet.SkipPageIndex(true))
	if err != nil {
		return err
	}
	maps := mapTypeOf(file)
	rows := parquet.NewGenericReader[any](file, file.Schema())
	defer rows.Close() //nolint:errcheck // it was only read
	text := map[string]bool{}
	textColumns(file.Root(), "", text)
	for {
		one := make([]any, 1)
		n, err := rows.Read(one)
		if n == 1 {
			fields, ok := plain(one[0], "", text).(map[string]any)
			if !ok {
				return fmt.Errorf("a row is a %T", one[0])
			}
			if err := visit(fields, maps); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
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
