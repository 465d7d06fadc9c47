package parquet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/denseflow/densereward/reward/relabel"
	"github.com/denseflow/densereward/reward/relabel/parquet"
	"github.com/denseflow/densereward/reward/relabel/relabeltest"
	"github.com/denseflow/densereward/reward/relabel/store"
)

// The shards that testdata/make.py writes.
var sources = map[string]relabeltest.Source{
	"datasets": {Format: parquet.Format{}, Store: store.Folder("testdata"), Path: "datasets.parquet", Records: 23, Failing: []int{5, 7},
		Columns: relabel.Columns{Metadata: []string{"id", "caption"}}, Metadata: map[string]any{"id": int64(0), "caption": "caption 0 – ü"}},
	"pyarrow": {Format: parquet.Format{}, Store: store.Folder("testdata"), Path: "pyarrow.parquet", Records: 23, Failing: []int{5, 7}},
	"paths":   {Format: parquet.Format{}, Store: store.Folder("testdata"), Path: "paths.parquet", Records: 4, Failing: []int{2}},
	"strings": {Format: parquet.Format{}, Store: store.Folder("testdata"), Path: "strings.parquet", Records: 3, Failing: []int{1, 2}},
}

func TestFormat(t *testing.T) {
	for name, source := range sources {
		t.Run(name, func(t *testing.T) { relabeltest.Run(t, source) })
	}
}

// rows reads a file's rows by column name.
func rows(t *testing.T, data []byte) []map[string]any {
	t.Helper()
	file, err := pq.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	r := pq.NewGenericReader[any](file, file.Schema())
	defer r.Close() //nolint:errcheck // it was only read
	values := make([]any, file.NumRows())
	if n, _ := r.Read(values); int64(n) != file.NumRows() {
		t.Fatalf("%d of %d rows", n, file.NumRows())
	}
	all := make([]map[string]any, len(values))
	for i, v := range values {
		all[i] = v.(map[string]any)
	}
	return all
}

func TestSourceColumnsAreKeptAndLabelsAdded(t *testing.T) {
	for name, source := range sources {
		t.Run(name, func(t *testing.T) {
			before, err := os.ReadFile("testdata/" + source.Path)
			if err != nil {
				t.Fatal(err)
			}
			_, after := relabeltest.Read(t, source, relabeltest.Labels("x_"))
			old, labelled := rows(t, before), rows(t, after)
			for i := range old {
				for column, value := range old[i] {
					if !reflect.DeepEqual(labelled[i][column], value) {
						t.Errorf("row %d: %s is %v, was %v", i, column, labelled[i][column], value)
					}
				}
				checkLabel(t, i, labelled[i])
			}
		})
	}
}

func checkLabel(t *testing.T, i int, row map[string]any) {
	t.Helper()
	want := relabeltest.Label(i)
	if want.Failed() {
		if row["x_reward"] != nil || row["x_alignment"] != nil || row["x_dense"] != nil || row["x_error_code"] != want.ErrorCode || row["x_error_message"] != want.ErrorMessage {
			t.Errorf("row %d failed, and has %v", i, row)
		}
		return
	}
	if row["x_reward"] != want.Reward || row["x_alignment"] != want.Scores[0] || row["x_quality"] != want.Scores[1] || row["x_text"] != want.Text || row["x_error_code"] != nil {
		t.Errorf("row %d: %v, want %+v", i, row, want)
	}
	if m, _ := row["x_dense"].(map[string]any); m == nil || m["data"] != string(want.Maps[0].Data) {
		t.Errorf("row %d: dense map %v, want %v", i, row["x_dense"], want.Maps[0])
	}
	if (row["x_artifact"] == nil) != (want.Maps[1].Height == 0) {
		t.Errorf("row %d: artifact map %v, want %v", i, row["x_artifact"], want.Maps[1])
	}
}

func TestMetadataDescribeTheNewColumns(t *testing.T) {
	_, data := relabeltest.Read(t, sources["datasets"], relabeltest.Labels("x_"))
	file, err := pq.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	text, _ := file.Lookup("huggingface")
	var hugging struct {
		Info struct {
			Features map[string]json.RawMessage
		}
	}
	if err := json.Unmarshal([]byte(text), &hugging); err != nil {
		t.Fatal(err)
	}
	for _, c := range file.Root().Columns() {
		if _, known := hugging.Info.Features[c.Name()]; !known {
			t.Errorf("column %s is no feature", c.Name())
		}
	}
	if _, there := file.Lookup("ARROW:schema"); there {
		t.Error("the source's Arrow schema was kept, which lacks the labels")
	}
	about, _ := file.Lookup("densereward")
	if !strings.Contains(about, `"dtype":"uint8"`) || !strings.Contains(about, `"scale":0.00392156862745098`) {
		t.Errorf("the metadata say %s of maps", about)
	}
	var sizes []int64
	for _, g := range file.RowGroups() {
		sizes = append(sizes, g.NumRows())
	}
	if want := []int64{10, 10, 3}; !reflect.DeepEqual(sizes, want) {
		t.Errorf("row groups of %v, want the source's %v", sizes, want)
	}
}

// A shard without rows has an output without rows.
func TestShardsMayBeEmpty(t *testing.T) {
	source := sources["pyarrow"]
	source.Path = "empty.parquet"
	records, data := relabeltest.Read(t, source, relabeltest.Labels("x_"))
	file, err := pq.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if len(records) != 0 || file.NumRows() != 0 || file.Root().Column("x_reward") == nil {
		t.Errorf("%d records, %d rows of %v", len(records), file.NumRows(), file.Root().Columns())
	}
}

// Columns that are all null have a type of their own, which the chunks of the
// output must have in common with the schema: DuckDB refuses any other.
func TestColumnsOfNothingKeepTheirType(t *testing.T) {
	_, data := relabeltest.Read(t, sources["strings"], relabeltest.Labels("x_"))
	file, err := pq.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	none := file.Root().Column("none")
	if _, ok := none.Type().LogicalType().Value.(*format.NullType); !ok {
		t.Errorf("the column is of type %v", none.Type())
	}
	for _, g := range file.Metadata().RowGroups {
		if got := g.Columns[none.Index()].MetaData.Type; got != format.Int32 {
			t.Errorf("a chunk of the column has type %v, want INT32", got)
		}
	}
}

func TestUnusableShardsAreRefused(t *testing.T) {
	good, err := os.ReadFile("testdata/datasets.parquet")
	if err != nil {
		t.Fatal(err)
	}
	lz4, err := os.ReadFile("testdata/lz4.parquet")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		data    []byte
		columns relabel.Columns
		labels  relabel.Labels
		want    string
	}{
		{"no footer", good[:len(good)-8], relabel.Columns{}, relabel.Labels{}, "magic"},
		{"no image column", good, relabel.Columns{Image: "picture"}, relabel.Labels{}, `no image column: none of ["picture"] is among ["id" "image" "caption" "tags" "meta" "votes" "label"]`},
		{"numbers for images", good, relabel.Columns{Image: "id"}, relabel.Labels{}, "column id does not hold one string or bytes for each row"},
		{"lists for prompts", good, relabel.Columns{Prompt: "tags"}, relabel.Labels{}, "column tags does not hold one string or bytes for each row"},
		{"lists for metadata", good, relabel.Columns{Metadata: []string{"tags"}}, relabel.Labels{}, "column tags does not hold one value for each row"},
		{"a struct without bytes", good, relabel.Columns{Image: "meta"}, relabel.Labels{}, "the image column meta is neither bytes nor paths nor a struct with bytes"},
		{"pages that the library decodes wrongly", lz4, relabel.Columns{}, relabel.Labels{}, "is compressed with LZ4, which cannot be read"},
		{"a column of a score's name", good, relabel.Columns{}, relabel.Labels{Scores: []string{"label"}}, `already has a column "label"`},
		{"a name that is none", good, relabel.Columns{}, relabel.Labels{Scores: []string{`a"b`}}, "cannot name a column"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := open(t, c.data, c.columns, c.labels)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %s", err, c.want)
			}
		})
	}
}

// open opens a shard and begins its output.
func open(t *testing.T, data []byte, columns relabel.Columns, labels relabel.Labels) error {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/a.parquet", data, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := parquet.Format{}.Open(context.Background(), store.Folder(dir), "a.parquet", columns)
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // it was only read
	_, err = r.Writer(new(bytes.Buffer), nil, labels)
	return err
}

// Bounds of pages would hold each page's smallest and largest image once more.
func TestOutputsAreNoLargerThanTheirImages(t *testing.T) {
	type row struct {
		Image  []byte `parquet:"image"`
		Prompt string `parquet:"prompt"`
	}
	random := rand.New(rand.NewPCG(1, 2))
	rows := make([]row, 30)
	for i := range rows {
		rows[i].Image = make([]byte, 100_000)
		for at := range rows[i].Image {
			rows[i].Image[at] = byte(random.Uint32())
		}
	}
	var data bytes.Buffer
	w := pq.NewGenericWriter[row](&data)
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/a.parquet", data.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	_, out := relabeltest.Read(t, relabeltest.Source{Format: parquet.Format{}, Store: store.Folder(dir), Path: "a.parquet"}, relabeltest.Labels(""))
	if most := 30*100_000 + 50_000; len(out) > most {
		t.Errorf("%d bytes for 3 MB of images", len(out))
	}
}
