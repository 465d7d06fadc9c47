package parquet

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"

	"github.com/denseflow/densereward/reward/relabel"
)

// maxGroupBytes ends a row group of the output early: a group is held in memory
// until it is written.
const maxGroupBytes = 64 << 20

// Writer makes the output of the shard.
func (r *reader) Writer(w io.Writer, _ relabel.Beside, labels relabel.Labels) (relabel.Writer, error) {
	var names []string
	source := r.file.Root()
	for _, c := range source.Columns() {
		names = append(names, c.Name())
	}
	if err := labels.CheckCollision(names); err != nil {
		return nil, err
	}
	columns, err := newLabelColumns(labels)
	if err != nil {
		return nil, err
	}
	fields := append(sourceFields(r.file), wrap(columns.schema.Fields(), nil)...)
	schema := parquet.NewSchema(r.file.Schema().Name(), &root{r.file.Schema(), fields})
	options := []parquet.WriterOption{schema, parquet.CreatedBy("densereward", "", "")}
	for _, path := range schema.Columns() {
		if leaf, _ := schema.Lookup(path...); leaf.Node.Type().Kind() == parquet.ByteArray && leaf.Node.Type().LogicalType() == nil {
			// The smallest and the largest image of a page are as large as the page.
			options = append(options, parquet.SkipPageBounds(path...), parquet.SkipPageStatistics(path...))
		}
	}
	metadata, err := r.keyValues(columns)
	if err != nil {
		return nil, err
	}
	for _, kv := range metadata {
		options = append(options, parquet.KeyValueMetadata(kv[0], kv[1]))
	}
	return &writer{
		out:     parquet.NewGenericWriter[any](w, options...),
		columns: columns,
		leaves:  len(r.file.Schema().Columns()),
	}, nil
}

// keyValues are the source's key-value pairs, brought up to date.
func (r *reader) keyValues(columns *labelColumns) ([][2]string, error) {
	var pairs [][2]string
	for _, kv := range r.file.Metadata().KeyValueMetadata {
		value := kv.Value
		switch kv.Key {
		case "ARROW:schema": // describes the source's columns alone
			continue
		case "huggingface":
			updated, err := columns.features(value)
			if err != nil {
				return nil, fmt.Errorf("the metadata of datasets: %w", err)
			}
			value = updated
		}
		pairs = append(pairs, [2]string{kv.Key, value})
	}
	about := map[string]any{"columns": columns.labels.Columns()}
	if len(columns.labels.Maps) > 0 {
		about["maps"] = map[string]any{
			"columns": columns.labels.Maps, "dtype": columns.labels.MapType, "byte_order": "little", "layout": "row major",
			"scale": mapScale(columns.labels.MapType),
		}
	}
	text, err := json.Marshal(about)
	return append(pairs, [2]string{"densereward", string(text)}), err
}

// mapScale is what a stored value is multiplied by.
func mapScale(t relabel.MapType) float64 {
	if t == relabel.Uint8 {
		return 1.0 / 255
	}
	return 1
}

type writer struct {
	out     *parquet.GenericWriter[any]
	columns *labelColumns
	leaves  int // of the source
	bytes   int // of the row group
}

// Write adds a row. A row group ends with the source's.
func (w *writer) Write(record *relabel.Record, label *relabel.Label) error {
	source, ok := record.Row.(*row)
	if !ok {
		return fmt.Errorf("parquet: %s is not of this format", record.Name)
	}
	values := append(source.values, w.columns.row(label, w.leaves)...)
	source.values = nil
	if _, err := w.out.WriteRows([]parquet.Row{values}); err != nil {
		return err
	}
	for _, v := range values {
		w.bytes += 16
		if v.Kind() == parquet.ByteArray {
			w.bytes += len(v.ByteArray())
		}
	}
	if source.last || w.bytes >= maxGroupBytes {
		w.bytes = 0
		return w.out.Flush()
	}
	return nil
}

func (w *writer) Close() error { return w.out.Close() }
