// Package table reads the rows of labelled shards, or of any others of the same
// kinds, one after the other: their fields as JSON has them, their maps, boxes
// and images.
package table

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/denseflow/densereward/internal/npy"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/relabel"
	"github.com/denseflow/densereward/reward/relabel/inputs"
	"github.com/denseflow/densereward/reward/relabel/lines"
	"github.com/denseflow/densereward/reward/relabel/parquet"
	"github.com/denseflow/densereward/reward/relabel/webdataset"
)

// Row is one row. Its fields are nil, bool, float64, string, []byte, []any and
// map[string]any.
type Row struct {
	Shard  string
	Number int    // in the shard, from 0
	Key    string // of a tar's sample; "" in other shards
	Fields map[string]any

	mapType relabel.MapType
	load    func(path string) ([]byte, error) // a file beside the shard; nil where there is none
}

// Read visits the rows of the shards that addresses name, in their order.
func Read(ctx context.Context, addresses []string, env func(string) string, visit func(*Row) error) error {
	shards, err := inputs.Find(ctx, addresses, env)
	if err != nil {
		return err
	}
	for _, s := range shards {
		number := 0
		emit := func(r *Row) error {
			r.Shard, r.Number = s.Name, number
			number++
			return visit(r)
		}
		switch s.Format.(type) {
		case parquet.Format:
			load := func(file string) ([]byte, error) { return relabel.LoadBeside(ctx, s.Store, s.Path, file) }
			err = parquet.ReadRows(ctx, s.Store, s.Path, func(fields map[string]any, maps relabel.MapType) error {
				return emit(&Row{Fields: fields, mapType: maps, load: load})
			})
		case webdataset.Format:
			err = webdataset.ReadSamples(ctx, s.Store, s.Path, func(key string, fields map[string]any) error {
				return emit(&Row{Key: key, Fields: fields})
			})
		default:
			err = lines.ReadRows(ctx, s.Format, s.Store, s.Path, func(fields map[string]any, load func(string) ([]byte, error)) error {
				return emit(&Row{Fields: fields, load: load})
			})
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	return nil
}

// Name says which row it is in messages.
func (r *Row) Name() string { return fmt.Sprintf("%s, row %d", r.Shard, r.Number) }

// Text is a field as text: a string, or a number or truth value written out.
func (r *Row) Text(name string) (string, bool) {
	switch v := r.Fields[name].(type) {
	case string:
		return v, true
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// Float is a field that is a finite number, or one of the object scores that the
// score command writes.
func (r *Row) Float(name string) (float64, bool) {
	v, ok := r.Fields[name].(float64)
	if scores, nested := r.Fields["scores"].(map[string]any); !ok && nested {
		v, ok = scores[name].(float64)
	}
	return v, ok && !math.IsNaN(v) && !math.IsInf(v, 0)
}

// The usual names of the field that tells rows apart.
var keyNames = []string{"key", "id", "file_name", "image", "image_path", "path"}

// KeyOf is the value of the field that tells rows apart: name, or where that is
// "" the key of a tar's sample or the first usual field.
func (r *Row) KeyOf(name string) (string, bool) {
	if name != "" {
		return r.Text(name)
	}
	if r.Key != "" {
		return r.Key, true
	}
	for _, name := range keyNames {
		if text, ok := r.Text(name); ok {
			return text, true
		}
	}
	return "", false
}

// maxMapBytes bounds a map's file.
const maxMapBytes = 256 << 20

// Map is a field that is a map: one that relabel stored, an .npy file or its
// path, or rows of numbers. It reports false where the field is null or not
// there.
func (r *Row) Map(name string) (reward.Map, bool, error) {
	value := r.Fields[name]
	if value == nil {
		value = r.Fields[name+".npy"] // as a tar has it
	}
	m, err := r.mapOf(value)
	if err != nil {
		return m, false, fmt.Errorf("%s: %s: %w", r.Name(), name, err)
	}
	return m, value != nil, nil
}

func (r *Row) mapOf(value any) (reward.Map, error) {
	switch v := value.(type) {
	case nil:
		return reward.Map{}, nil
	case []byte:
		return mapOfFile(v)
	case string:
		if r.load == nil {
			return reward.Map{}, fmt.Errorf("%.40q is no map", v)
		}
		data, err := r.load(v)
		if err != nil {
			return reward.Map{}, err
		}
		return mapOfFile(data)
	case map[string]any:
		return r.mapOfStruct(v)
	case []any:
		return mapOfRows(v)
	}
	return reward.Map{}, fmt.Errorf("a %T is no map", value)
}

func mapOfFile(data []byte) (reward.Map, error) {
	a, err := npy.Read(bytes.NewReader(data), maxMapBytes)
	if err != nil {
		return reward.Map{}, err
	}
	for len(a.Shape) > 2 && a.Shape[0] == 1 {
		a.Shape = a.Shape[1:]
	}
	if len(a.Shape) != 2 {
		return reward.Map{}, fmt.Errorf("an array of shape %v is no map", a.Shape)
	}
	m := reward.Map{Height: a.Shape[0], Width: a.Shape[1]}
	switch a.Descr {
	case "|u1":
		m.Data = relabel.MapValues(a.Data, relabel.Uint8)
	default:
		m.Data, err = a.Float32s()
	}
	return m, err
}

func (r *Row) mapOfStruct(v map[string]any) (reward.Map, error) {
	height, ok1 := v["height"].(float64)
	width, ok2 := v["width"].(float64)
	data, ok3 := v["data"].([]byte)
	m := reward.Map{Height: int(height), Width: int(width), Data: relabel.MapValues(data, r.mapType)}
	if !ok1 || !ok2 || !ok3 || len(m.Data) != m.Height*m.Width {
		return m, fmt.Errorf("a struct that is no map, or %d bytes for %vx%v of %q", len(data), height, width, r.mapType)
	}
	return m, nil
}

func mapOfRows(rows []any) (reward.Map, error) {
	m := reward.Map{Height: len(rows)}
	for y, row := range rows {
		cells, ok := row.([]any)
		if !ok || y > 0 && len(cells) != m.Width {
			return m, fmt.Errorf("row %d is not as long as the first", y)
		}
		m.Width = len(cells)
		for x, cell := range cells {
			v, ok := cell.(float64)
			if !ok {
				return m, fmt.Errorf("row %d, column %d is no number", y, x)
			}
			m.Data = append(m.Data, float32(v))
		}
	}
	return m, nil
}

// Boxes is a field that is a list of boxes, {"box" or "box_2d": four numbers in
// thousandths, "label", "importance"}. It reports false where the field is null
// or not there.
func (r *Row) Boxes(name string) ([]reward.Box, bool, error) {
	value, there := r.Fields[name]
	if !there || value == nil {
		return nil, false, nil
	}
	list, ok := value.([]any)
	if !ok {
		return nil, false, fmt.Errorf("%s: %s: a %T is no list of boxes", r.Name(), name, value)
	}
	boxes := make([]reward.Box, len(list))
	for i, one := range list {
		if boxes[i], ok = boxOf(one); !ok {
			return nil, false, fmt.Errorf("%s: %s: box %d has no four numbers", r.Name(), name, i)
		}
	}
	return boxes, true, nil
}

func boxOf(value any) (reward.Box, bool) {
	fields, ok := value.(map[string]any)
	if !ok {
		return reward.Box{}, false
	}
	coords, ok := fields["box"].([]any)
	if !ok {
		coords, ok = fields["box_2d"].([]any)
	}
	if !ok || len(coords) != 4 {
		return reward.Box{}, false
	}
	b := reward.Box{Importance: 100}
	for k, c := range coords {
		if b.Coords[k], ok = c.(float64); !ok {
			return b, false
		}
	}
	if label, ok := fields["label"].(string); ok {
		b.Label = label
	}
	if importance, ok := fields["importance"].(float64); ok {
		b.Importance = importance
	}
	return b, true
}

// The usual names of the field that holds an image.
var imageNames = []string{"image", "img", "jpg", "jpeg", "png", "webp", "file_name", "image_path", "path"}

// ErrorCode is why the row was not scored, "" if it was: under the prefix of its
// labels, the default one or none.
func (r *Row) ErrorCode(prefix string) string {
	for _, p := range []string{prefix, relabel.DefaultPrefix, ""} {
		if _, there := r.Fields[p+relabel.ColumnErrorCode]; there {
			code, _ := r.Text(p + relabel.ColumnErrorCode)
			return code
		}
	}
	return ""
}

// Image is the file of the row's image; nil where it has none that can be read.
// A path that leads nowhere from the shard is tried with find, unless that is nil.
func (r *Row) Image(find func(path string) ([]byte, error)) []byte {
	for _, name := range imageNames {
		switch v := r.Fields[name].(type) {
		case []byte:
			return v
		case map[string]any:
			if data, ok := v["bytes"].([]byte); ok {
				return data
			}
			if path, ok := v["path"].(string); ok {
				if data := r.file(path, find); data != nil {
					return data
				}
			}
		case string:
			if data := r.file(v, find); data != nil {
				return data
			}
		}
	}
	return nil
}

// DropImages forgets images that the row itself holds, for those who keep many rows:
// fields of usual names but for those to keep. Paths stay.
func (r *Row) DropImages(keep []string) {
	for _, name := range imageNames {
		if slices.Contains(keep, name) {
			continue
		}
		switch v := r.Fields[name].(type) {
		case []byte:
			delete(r.Fields, name)
		case map[string]any:
			delete(v, "bytes")
		}
	}
}

// file reads a file beside the shard, or where find finds it; nil where there is
// none.
func (r *Row) file(path string, find func(string) ([]byte, error)) []byte {
	for _, load := range []func(string) ([]byte, error){r.load, find} {
		if load == nil || r.load == nil {
			continue
		}
		if data, err := load(path); err == nil {
			return data
		}
	}
	return nil
}
