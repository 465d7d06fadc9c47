package relabel_test

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward/relabel"
	"github.com/denseflow/densereward/reward/relabel/lines"
	"github.com/denseflow/densereward/reward/relabel/store"
)

// A rerun finds what the first run wrote into a folder of its inputs.
func TestOutputsInTheFolderOfTheInputsAreNoInputs(t *testing.T) {
	in := listShards(t, 2, 5)
	out := filepath.Join(string(in), "labelled")
	mustRun(t, newJob(t, in, out, newCounting()))
	found := shards(t, in)
	if len(found) <= 2 {
		t.Fatalf("%d shards below the folder, want the output's too", len(found))
	}
	if own := relabel.Outside(found, store.Folder(out)); len(own) != 2 {
		t.Errorf("%+v are taken for inputs", own)
	}
	if beside := relabel.Outside(shards(t, in), store.Folder(string(in)+"x")); len(beside) != len(shards(t, in)) {
		t.Error("a folder whose name begins like the output's is taken for it")
	}
}

func TestAFolderOfImagesDoesNotHoldItsOutput(t *testing.T) {
	in := store.Folder(t.TempDir())
	job := newJob(t, in, filepath.Join(string(in), "labelled"), newCounting())
	job.Shards = []relabel.Shard{{Name: "metadata.jsonl", Store: in, Path: ".", Format: lines.Folder{}}}
	if _, err := relabel.Run(context.Background(), job); err == nil || !strings.Contains(err.Error(), "whose images are the input") {
		t.Errorf("error %v", err)
	}
}

func TestAPromptThatIsNotUTF8IsNotEvaluated(t *testing.T) {
	in := store.Folder(t.TempDir())
	if err := in.Write(context.Background(), "list.csv", []byte("image,prompt\nlist.csv,a\xff\nlist.csv,b\n")); err != nil {
		t.Fatal(err)
	}
	job := newJob(t, in, t.TempDir(), newCounting())
	job.Shards[0].Format = lines.CSV{}
	job.Evaluate = func(_ context.Context, chunk []*relabel.Record) ([]relabel.Label, error) {
		labels := make([]relabel.Label, len(chunk))
		for i, r := range chunk {
			if labels[i].Scores = []float64{1}; r.Err != nil {
				labels[i] = relabel.Failure(r.Err)
			}
		}
		return labels, nil
	}
	if s := mustRun(t, job); s.Samples != 2 || s.Errors["invalid_value"] != 1 {
		t.Errorf("%+v", s)
	}
}

// noMaps is a store whose disk is full when maps come.
type noMaps struct{ relabel.Store }

var errFull = errors.New("no space left on device")

func (s noMaps) Write(ctx context.Context, name string, data []byte) error {
	if strings.HasSuffix(name, ".npy") {
		return errFull
	}
	return s.Store.Write(ctx, name, data)
}

func TestNoOutputAppearsBeforeItsMaps(t *testing.T) {
	in, dir := listShards(t, 1, 5), t.TempDir()
	job := newJob(t, in, dir, newCounting())
	job.Config.Labels.Maps, job.Evaluate = []string{"dense"}, func(_ context.Context, chunk []*relabel.Record) ([]relabel.Label, error) {
		labels := make([]relabel.Label, len(chunk))
		for i := range labels {
			labels[i] = relabel.Label{Scores: []float64{1}, Maps: []relabel.Map{{Height: 1, Width: 1, Data: []byte{1, 2}}}}
		}
		return labels, nil
	}
	out := job.Output
	job.Output = noMaps{out}
	if _, err := relabel.Run(context.Background(), job); !errors.Is(err, errFull) {
		t.Fatalf("error %v", err)
	}
	if _, err := out.Open(context.Background(), "0.jsonl"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the output is there: %v", err)
	}
	job.Output = out
	if s := mustRun(t, job); s.Resumed < 4 {
		t.Errorf("%d samples come from the journal, want the first chunk of 4 at least", s.Resumed)
	}
}
