package table_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/denseflow/densereward/internal/npy"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/relabel"
	"github.com/denseflow/densereward/reward/relabel/lines"
	"github.com/denseflow/densereward/reward/relabel/parquet"
	"github.com/denseflow/densereward/reward/relabel/relabeltest"
	"github.com/denseflow/densereward/reward/relabel/store"
	"github.com/denseflow/densereward/reward/relabel/table"
	"github.com/denseflow/densereward/reward/relabel/webdataset"
)

func read(t *testing.T, path string) []*table.Row {
	t.Helper()
	var all []*table.Row
	err := table.Read(context.Background(), []string{path}, os.Getenv, func(r *table.Row) error { all = append(all, r); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// What relabel's writers write is read back, whatever the format.
func TestLabelsAreReadBack(t *testing.T) {
	named := store.Folder("testdata")
	for _, source := range []relabeltest.Source{
		{Format: parquet.Format{}, Store: store.Folder("../parquet/testdata"), Path: "datasets.parquet"},
		{Format: webdataset.Format{}, Store: store.Folder("../webdataset/testdata"), Path: "json.tar.zst"},
		{Format: lines.JSONL{}, Store: named, Path: "list.jsonl"},
		{Format: lines.CSV{}, Store: named, Path: "list.csv"},
	} {
		source.Beside = map[string][]byte{}
		records, data := relabeltest.Read(t, source, relabeltest.Labels("x_"))
		out := store.Folder(t.TempDir())
		for name, file := range source.Beside {
			if err := out.Write(context.Background(), name, file); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(string(out), source.Path)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		rows := read(t, path)
		if len(rows) != len(records) {
			t.Fatalf("%s: %d rows of %d", source.Path, len(rows), len(records))
		}
		for i, row := range rows {
			want := relabeltest.Label(i)
			v, scored := row.Float("x_reward")
			if scored == want.Failed() || scored && v != want.Reward {
				t.Errorf("%s: reward %v, %v; want %+v", row.Name(), v, scored, want)
			}
			boxes, _, err := row.Boxes("x_boxes")
			if err != nil || len(boxes) != len(want.Boxes) {
				t.Errorf("%s: boxes %+v, %v; want %+v", row.Name(), boxes, err, want.Boxes)
			}
			m, there, err := row.Map("x_dense")
			if err != nil || there == want.Failed() || there && (m.Width != 2 || m.Data[0] != float32(i)/255 || m.Data[1] != 1) {
				t.Errorf("%s: map %+v, %v, %v", row.Name(), m, there, err)
			}
			if records[i].Err == nil && !bytes.HasPrefix(row.Image(in(named)), []byte("\x89PNG")) {
				t.Errorf("%s has no image", row.Name())
			}
		}
		if text, _ := rows[0].Text("caption"); text == "" {
			t.Errorf("%s: the fields are %v", source.Path, rows[0].Fields)
		}
	}
}

// in finds files in a folder.
func in(s store.Folder) func(string) ([]byte, error) {
	return func(name string) ([]byte, error) { return relabel.ReadFile(context.Background(), s, name) }
}

func TestMapsComeInManyForms(t *testing.T) {
	dir := t.TempDir()
	var file bytes.Buffer
	if err := npy.WriteFloat32(&file, []float32{1, 2, 3, 4, 5, 6}, 1, 2, 3); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "m.npy"), file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	text := `{"id":7,"m":"m.npy"}
{"id":"x","m":[[1,2,3],[4,5,6]]}
{"file_name":"f","m":null}`
	if err := os.WriteFile(filepath.Join(dir, "rows.jsonl"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	rows := read(t, dir)
	for i, key := range []string{"7", "x", "f"} {
		if got, _ := rows[i].KeyOf(""); got != key {
			t.Errorf("row %d has key %q, want %q", i, got, key)
		}
		m, there, err := rows[i].Map("m")
		if err != nil || there == (i == 2) {
			t.Errorf("row %d: %v, %v", i, there, err)
		}
		if want := (reward.Map{Height: 2, Width: 3}); there && (m.Height != want.Height || m.Width != want.Width || m.Data[5] != 6) {
			t.Errorf("row %d: %+v", i, m)
		}
	}
}
