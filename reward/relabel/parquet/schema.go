package parquet

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding"
	"github.com/parquet-go/parquet-go/format"

	"github.com/denseflow/densereward/reward/relabel"
)

// root is a schema's root with the fields of the source, then those of the
// labels; parquet.Group would sort them.
type root struct {
	parquet.Node
	fields []parquet.Field
}

func (r *root) Fields() []parquet.Field { return r.fields }

// field is a column as it was, but in the writer's compression and encoding: a
// dictionary of images would be held in memory.
type field struct {
	parquet.Field
	fields []parquet.Field
	typ    parquet.Type // in place of the library's; nil
}

func (f *field) Compression() compress.Codec { return &zstd.Codec{Level: zstd.SpeedFastest} }
func (f *field) Encoding() encoding.Encoding { return nil }
func (f *field) Fields() []parquet.Field     { return f.fields }

func (f *field) Type() parquet.Type {
	if f.typ != nil {
		return f.typ
	}
	return f.Field.Type()
}

// logical is a physical type with a logical one that the library forgets.
type logical struct {
	parquet.Type
	as format.LogicalType
}

func (l logical) LogicalType() *format.LogicalType { return &l.as }

// typeOf is what stands in for the library's type of a leaf: it forgets which
// columns of two bytes are float16, and writes an invalid type for those that are
// all null.
func typeOf(leaf parquet.Type, logicalType format.LogicalType) parquet.Type {
	switch logicalType.Value.(type) {
	case *format.Float16Type:
		return logical{leaf, logicalType}
	case *format.NullType:
		return logical{parquet.Int32Type, logicalType}
	}
	return nil
}

func sourceFields(file *parquet.File) []parquet.Field {
	var leaves []*format.SchemaElement
	for i := range file.Metadata().Schema {
		if e := &file.Metadata().Schema[i]; e.NumChildren.V == 0 {
			leaves = append(leaves, e)
		}
	}
	return wrap(file.Schema().Fields(), &leaves)
}

// wrap makes fields of ours; leaves are the schema's elements of the leaves from
// the first of fields on, nil for none.
func wrap(fields []parquet.Field, leaves *[]*format.SchemaElement) []parquet.Field {
	wrapped := make([]parquet.Field, len(fields))
	for i, f := range fields {
		w := &field{Field: f, fields: wrap(f.Fields(), leaves)}
		if f.Leaf() && leaves != nil {
			w.typ = typeOf(f.Type(), (*leaves)[0].LogicalType)
			*leaves = (*leaves)[1:]
		}
		wrapped[i] = w
	}
	return wrapped
}

type boxValue struct {
	Box        []float64 `parquet:"box,list"`
	Label      string    `parquet:"label"`
	Importance float64   `parquet:"importance"`
}

type mapValue struct {
	Height int32  `parquet:"height"`
	Width  int32  `parquet:"width"`
	Data   []byte `parquet:"data"`
}

// labelColumns describes the labels' columns as a Go struct, field by field.
type labelColumns struct {
	labels relabel.Labels
	model  reflect.Type
	schema *parquet.Schema
}

func newLabelColumns(labels relabel.Labels) (*labelColumns, error) {
	var fields []reflect.StructField
	add := func(name string, of any, options string) {
		fields = append(fields, reflect.StructField{
			Name: fmt.Sprintf("F%d", len(fields)),
			Type: reflect.TypeOf(of),
			Tag:  reflect.StructTag(fmt.Sprintf(`parquet:"%s%s,%s"`, labels.Prefix, name, options)),
		})
	}
	for _, name := range labels.Columns() {
		if strings.ContainsAny(name, "\",`\\") {
			return nil, fmt.Errorf("%q cannot name a column", name)
		}
	}
	add(relabel.ColumnReward, new(float64), "optional")
	for _, score := range labels.Scores {
		add(score, new(float64), "optional")
	}
	add(relabel.ColumnMissing, []string{}, "list")
	if labels.Text {
		add(relabel.ColumnText, new(string), "optional")
	}
	if labels.Boxes {
		add(relabel.ColumnBoxes, []boxValue{}, "list")
	}
	add(relabel.ColumnErrorCode, new(string), "optional")
	add(relabel.ColumnErrorMessage, new(string), "optional")
	for _, m := range labels.Maps {
		add(m, new(mapValue), "optional")
	}
	model := reflect.StructOf(fields)
	return &labelColumns{labels, model, parquet.SchemaOf(reflect.New(model).Interface())}, nil
}

// row is the values of a label, its columns numbered from first on.
func (c *labelColumns) row(label *relabel.Label, first int) parquet.Row {
	value := reflect.New(c.model).Elem()
	at := 0
	set := func(v any) {
		if v != nil {
			value.Field(at).Set(reflect.ValueOf(v))
		}
		at++
	}
	scored := !label.Failed()
	optional := func(v float64) any {
		if scored {
			return &v
		}
		return nil
	}
	text := func(v string, there bool) any {
		if there {
			return &v
		}
		return nil
	}
	set(optional(label.Reward))
	for i := range c.labels.Scores {
		var v float64
		if scored {
			v = label.Scores[i]
		}
		set(optional(v))
	}
	set(label.Missing)
	if c.labels.Text {
		set(text(label.Text, scored))
	}
	if c.labels.Boxes {
		boxes := make([]boxValue, len(label.Boxes))
		for i, b := range label.Boxes {
			boxes[i] = boxValue{b.Box[:], b.Label, b.Importance}
		}
		set(boxes)
	}
	set(text(label.ErrorCode, !scored))
	set(text(label.ErrorMessage, !scored))
	for i := range c.labels.Maps {
		if scored && label.Maps[i].Height > 0 {
			m := label.Maps[i]
			set(&mapValue{int32(m.Height), int32(m.Width), m.Data})
		} else {
			set(nil)
		}
	}
	row := c.schema.Deconstruct(nil, value.Interface())
	for i, v := range row {
		row[i] = v.Level(v.RepetitionLevel(), v.DefinitionLevel(), first+v.Column())
	}
	return row
}

// features brings the features that datasets keeps in a file's metadata up to
// date with the labels' columns.
func (c *labelColumns) features(huggingface string) (string, error) {
	var document map[string]json.RawMessage
	if err := json.Unmarshal([]byte(huggingface), &document); err != nil {
		return "", err
	}
	var info map[string]json.RawMessage
	if err := json.Unmarshal(document["info"], &info); err != nil {
		return "", err
	}
	var features ordered
	if err := json.Unmarshal(info["features"], &features); err != nil {
		return "", err
	}
	value := func(dtype string) any { return map[string]any{"dtype": dtype, "_type": "Value"} }
	for _, column := range c.schema.Fields() {
		name := column.Name()
		var feature any
		switch strings.TrimPrefix(name, c.labels.Prefix) {
		case relabel.ColumnMissing:
			feature = []any{value("string")}
		case relabel.ColumnText, relabel.ColumnErrorCode, relabel.ColumnErrorMessage:
			feature = value("string")
		case relabel.ColumnBoxes:
			feature = []any{map[string]any{"box": []any{value("float64")}, "label": value("string"), "importance": value("float64")}}
		default:
			feature = value("float64")
			if !column.Leaf() {
				feature = map[string]any{"height": value("int32"), "width": value("int32"), "data": value("binary")}
			}
		}
		if err := features.add(name, feature); err != nil {
			return "", err
		}
	}
	var err error
	if info["features"], err = json.Marshal(features); err != nil {
		return "", err
	}
	if document["info"], err = json.Marshal(info); err != nil {
		return "", err
	}
	out, err := json.Marshal(document)
	return string(out), err
}
