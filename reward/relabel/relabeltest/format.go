// Package relabeltest tests formats of shards: Run is the suite that every one
// passes.
package relabeltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"testing"

	"github.com/denseflow/densereward/reward/relabel"
)

// Source is a shard that a test reads.
type Source struct {
	Format  relabel.Format
	Store   relabel.Store
	Path    string
	Columns relabel.Columns
	Records int
	Failing []int // records that lack their image or prompt
	// Metadata is what the first record must have of Columns.Metadata.
	Metadata map[string]any
	Labels   relabel.Labels // for Run; the zero value is Labels("x_")
	// Beside, if set, gets the files beside the output.
	Beside map[string][]byte
}

// Labels is what Run labels with, and Label the label of the i-th record.
func Labels(prefix string) relabel.Labels {
	return relabel.Labels{
		Prefix: prefix, Scores: []string{"alignment", "quality"}, Text: true, Boxes: true,
		Maps: []string{relabel.ColumnDense, "artifact"}, MapType: relabel.Uint8,
	}
}

// Label is the label of the i-th record: every third has no second map, and
// every fifth failed.
func Label(i int) relabel.Label {
	if i%5 == 4 {
		return relabel.Label{ErrorCode: "image_corrupt", ErrorMessage: fmt.Sprintf("image %d \"cannot\" be decoded,\nnot at all", i)}
	}
	label := relabel.Label{
		Reward: float64(i) / 7, Scores: []float64{float64(i) / 3, -1e-300}, Text: fmt.Sprintf("text %d, \"ü\"\n", i),
		Maps: []relabel.Map{{Height: 1, Width: 2, Data: []byte{byte(i), 255}}, {Height: 2, Width: 1, Data: []byte{1, 2}}},
	}
	for b := range i % 3 {
		label.Boxes = append(label.Boxes, relabel.Box{Box: [4]float64{1, 2, 3.5, float64(b)}, Label: "artifact", Importance: 50})
	}
	if i%3 == 2 {
		label.Missing = []string{"artifact"}
		label.Maps[1] = relabel.Map{}
	}
	return label
}

// Read labels a source and returns its records and the output.
func Read(t *testing.T, s Source, labels relabel.Labels) ([]*relabel.Record, []byte) {
	t.Helper()
	r, err := s.Format.Open(context.Background(), s.Store, s.Path, s.Columns)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // it was only read
	var out bytes.Buffer
	w, err := r.Writer(&out, s.keep, labels)
	if err != nil {
		t.Fatal(err)
	}
	var records []*relabel.Record
	last := int64(0)
	for {
		record, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		label := Label(len(records))
		if err := w.Write(record, &label); err != nil {
			t.Fatal(err)
		}
		records = append(records, record)
		if p := r.Position(); p < last {
			t.Errorf("the position went back from %d to %d", last, p)
		} else {
			last = p
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return records, out.Bytes()
}

// keep is the output's relabel.Beside.
func (s *Source) keep(name string, data []byte) error {
	if s.Beside != nil {
		s.Beside[name] = data
	}
	return nil
}

// Run tests the format of a source.
func Run(t *testing.T, s Source) {
	if s.Labels.Scores == nil {
		s.Labels = Labels("x_")
	}
	t.Run("records", func(t *testing.T) { testRecords(t, s) })
	t.Run("the same labels give the same bytes", func(t *testing.T) {
		_, first := Read(t, s, s.Labels)
		_, again := Read(t, s, s.Labels)
		if !bytes.Equal(first, again) {
			t.Error("two outputs differ")
		}
	})
	t.Run("a missing column is named", func(t *testing.T) {
		r, err := s.Format.Open(context.Background(), s.Store, s.Path, relabel.Columns{Image: "absent", Prompt: "absent"})
		if err != nil {
			return
		}
		defer r.Close() //nolint:errcheck // it was only read
		if record, err := r.Next(); err == nil && record.Err == nil {
			t.Error("a record with columns that do not exist has no error")
		}
	})
}

func testRecords(t *testing.T, s Source) {
	records, _ := Read(t, s, s.Labels)
	if len(records) != s.Records {
		t.Fatalf("%d records, want %d", len(records), s.Records)
	}
	if !reflect.DeepEqual(records[0].Metadata, s.Metadata) {
		t.Errorf("the first record has metadata %v, want %v", records[0].Metadata, s.Metadata)
	}
	failing := map[int]bool{}
	for _, i := range s.Failing {
		failing[i] = true
	}
	names := map[string]bool{}
	for i, r := range records {
		if names[r.Name] {
			t.Errorf("two records are called %s", r.Name)
		}
		names[r.Name] = true
		if failing[i] != (r.Err != nil) {
			t.Errorf("%s: error %v", r.Name, r.Err)
		}
		if r.Err != nil {
			continue
		}
		data, err := r.Load()
		if err != nil || len(data) == 0 {
			t.Errorf("%s: %d bytes, %v", r.Name, len(data), err)
		}
		if r.Prompt == "" {
			t.Errorf("%s has no prompt", r.Name)
		}
	}
}
