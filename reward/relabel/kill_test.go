package relabel_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/denseflow/densereward/reward/relabel"
	"github.com/denseflow/densereward/reward/relabel/inputs"
	"github.com/denseflow/densereward/reward/relabel/store"
)

// childEnv makes the test's program relabel the folder that it names, with a
// line of output for each step, instead of running tests.
const childEnv = "RELABEL_CHILD"

func TestMain(m *testing.M) {
	dir := os.Getenv(childEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	if err := relabelFolder(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// relabelFolder labels dir/in into dir/out.
func relabelFolder(dir string) error {
	shards, err := inputs.Find(context.Background(), []string{filepath.Join(dir, "in")}, os.Getenv)
	if err != nil {
		return err
	}
	out := filepath.Join(dir, "out")
	_, err = relabel.Run(context.Background(), relabel.Job{
		Config: relabel.Config{Evaluator: "fake", ChunkSize: 7, Labels: relabel.Labels{Scores: []string{"score"}, Maps: []string{"dense"}, MapType: relabel.Uint8}},
		Shards: shards, Output: store.Folder(out), State: filepath.Join(out, ".densereward", "journals"),
		Evaluate: digest, Concurrency: 3, Now: time.Now,
		Progress: func(relabel.Progress) { fmt.Println() },
	})
	return err
}

func digest(_ context.Context, chunk []*relabel.Record) ([]relabel.Label, error) {
	labels := make([]relabel.Label, len(chunk))
	for i, r := range chunk {
		data, err := r.Load()
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(append(data, r.Prompt...))
		v := float64(binary.LittleEndian.Uint32(sum[:])) / (1 << 32)
		labels[i] = relabel.Label{Reward: v + float64(len(chunk)), Scores: []float64{v}, Maps: []relabel.Map{{Height: 4, Width: 8, Data: sum[:]}}}
	}
	return labels, nil
}

const killedSamples = 50 // in each of eight shards

// writeShards makes eight shards of three kinds.
func writeShards(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for s := range 8 {
		var data bytes.Buffer
		kind := []string{"tar", "jsonl", "parquet"}[s%3]
		switch kind {
		case "tar":
			writeTar(t, &data, s)
		case "jsonl":
			for i := range killedSamples {
				fmt.Fprintf(&data, `{"image":"1.jsonl","prompt":"shard %d sample %d"}`+"\n", s, i)
			}
		case "parquet":
			writeParquet(t, &data, s)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.%s", s, kind)), data.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func writeTar(t *testing.T, w io.Writer, s int) {
	t.Helper()
	archive := tar.NewWriter(w)
	for i := range killedSamples {
		for name, text := range map[string]string{"png": fmt.Sprint("image ", i), "txt": fmt.Sprint("shard ", s, " sample ", i)} {
			if err := archive.WriteHeader(&tar.Header{Name: fmt.Sprintf("%d.%s", i, name), Size: int64(len(text)), Mode: 0o600}); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(archive, text); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
}

func writeParquet(t *testing.T, w io.Writer, s int) {
	t.Helper()
	type row struct {
		Image struct {
			Bytes []byte `parquet:"bytes"`
		} `parquet:"image"`
		Prompt string `parquet:"prompt"`
	}
	out := parquet.NewGenericWriter[row](w)
	for i := range killedSamples {
		r := row{Prompt: fmt.Sprint("shard ", s, " sample ", i)}
		r.Image.Bytes = fmt.Append(nil, "image ", i)
		if _, err := out.Write([]row{r}); err != nil {
			t.Fatal(err)
		}
		if i == 20 {
			if err := out.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// A process that is killed at any moment, again and again, loses nothing and
// labels nothing twice.
func TestAProcessThatIsKilledLosesNothing(t *testing.T) {
	dir := t.TempDir()
	writeShards(t, filepath.Join(dir, "in"))
	if err := relabelFolder(dir); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "out")
	want := tree(t, out)
	if n := strings.Count(want["1.jsonl"], "\n"); n != killedSamples {
		t.Fatalf("%d lines", n)
	}
	if _, there := want["1.jsonl.maps/00000049.dense.npy"]; !there {
		t.Fatal("a row of JSONL has no map beside it")
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(7, 8))
	kills := 0
	for kills < 50 {
		if err := os.RemoveAll(out); err != nil {
			t.Fatal(err)
		}
		for killed(t, program, dir, 1+random.IntN(25)) {
			kills++
		}
		equalTrees(t, tree(t, out), want)
		if t.Failed() {
			t.Fatalf("after %d kills", kills)
		}
	}
}

// killed starts the program and kills it after some steps. It reports false if
// the program came to its end first.
func killed(t *testing.T, program, dir string, steps int) bool {
	t.Helper()
	child := exec.Command(program)
	child.Env = append(os.Environ(), childEnv+"="+dir)
	child.Stderr = os.Stderr
	output, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(output, make([]byte, steps)); err != nil { // it has ended
		if err := child.Wait(); err != nil {
			t.Fatal(err)
		}
		return false
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	return child.Wait() != nil
}
