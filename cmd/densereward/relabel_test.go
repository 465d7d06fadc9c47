package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/denseflow/densereward/cmd/densereward/offline"
	"github.com/denseflow/densereward/internal/npy"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/relabel/table"
)

// imageList writes a JSONL shard of the demo's images, and a broken one.
func imageList(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var list strings.Builder
	for _, path := range demoImages() {
		whole, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		line, err := json.Marshal(map[string]string{"image": whole, "prompt": "a red cube"})
		if err != nil {
			t.Fatal(err)
		}
		list.Write(append(line, '\n'))
	}
	list.WriteString(`{"image":"absent.png","prompt":"a red cube"}` + "\n")
	if err := os.WriteFile(filepath.Join(dir, "list.jsonl"), []byte(list.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

type labelledLine struct {
	Reward    *float64 `json:"reward"`
	Alignment *float64 `json:"semantic_alignment"`
	Text      *string  `json:"text"`
	ErrorCode *string  `json:"error_code"`
}

// TestRelabelLabelsAsScoreScores compares with the score command, then reruns.
func TestRelabelLabelsAsScoreScores(t *testing.T) {
	in, out := imageList(t), t.TempDir()
	args := []string{"relabel", in, "--out", out, "--model", smallDir, "--threads", "1", "--batch", "4"}
	code, printed, said := densereward(t, args...)
	if code != exitPartial {
		t.Fatalf("exit code %d: %s", code, said)
	}
	images := len(demoImages())
	if r := lines[offline.RelabelSummary](t, printed); len(r) != 1 || r[0].Samples != images+1 || r[0].Failed != 1 || r[0].Errors["image_corrupt"] != 1 {
		t.Errorf("summary %s", printed)
	}
	data, err := os.ReadFile(filepath.Join(out, "list.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	_, scored, _ := densereward(t, append([]string{"score", "--model", smallDir, "--threads", "1", "--batch", "4", "--prompt", "a red cube"}, demoImages()...)...)
	want := strings.Split(scored, "\n")
	for i, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		var got labelledLine
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatal(err)
		}
		if i == images {
			if got.ErrorCode == nil || *got.ErrorCode != "image_corrupt" || got.Reward != nil {
				t.Errorf("the image that is not there: %s", line)
			}
			continue
		}
		var record struct{ Reward float64 }
		if err := json.Unmarshal([]byte(want[i]), &record); err != nil {
			t.Fatal(err)
		}
		if got.Reward == nil || *got.Reward != record.Reward {
			t.Errorf("image %d: %s, score says %v", i, line, record.Reward)
		}
	}
	code, printed, said = densereward(t, args...)
	if r := lines[offline.RelabelSummary](t, printed); code != exitOK || r[0].Skipped != 1 || r[0].Samples != 0 {
		t.Errorf("a rerun: code %d, %s%s", code, printed, said)
	}
	if code, _, said = densereward(t, append(args, "--column-prefix", "x_")...); code != exitFailure || !strings.Contains(said, "another configuration") {
		t.Errorf("another configuration: code %d, %s", code, said)
	}
}

func TestRelabelChecksItsCommandLine(t *testing.T) {
	in := imageList(t)
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no output":                   {[]string{in}, "missing flags: --out"},
		"a grid that does not exist":  {[]string{in, "--out", "x", "--grid", "sd9"}, "--grid: "},
		"a share beyond the count":    {[]string{in, "--out", "x", "--shard", "2/2"}, "--shard: "},
		"a type of maps that is none": {[]string{in, "--out", "x", "--map-type", "float8"}, "--map-type must be one of"},
		"an empty batch":              {[]string{in, "--out", "x", "--batch", "0"}, "--batch: "},
		"a decoder on a server":       {[]string{in, "--out", "x", "--vae", "y", "--server", "http://127.0.0.1:1"}, "--vae: "},
		"an address that is none":     {[]string{in, "--out", "x", "--server", "nonsense:"}, "--server: "},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, said := densereward(t, append([]string{"relabel"}, c.args...)...)
			if code != exitUsage || !strings.Contains(said, c.want) {
				t.Errorf("code %d, %s, want %s", code, said, c.want)
			}
		})
	}
	if code, _, said := densereward(t, "relabel", in, "--out", t.TempDir(), "--model", smallDir, "--maps", "depth"); code != exitUsage || !strings.Contains(said, `no map "depth"`) {
		t.Errorf("a map that does not exist: code %d, %s", code, said)
	}
}

func TestRelabelAsksServers(t *testing.T) {
	in, out := imageList(t), t.TempDir()
	s := serve(t)
	code, printed, said := densereward(t, "relabel", in, "--out", out, "--server", s.address, "--batch", "2")
	if r := lines[offline.RelabelSummary](t, printed); code != exitPartial || r[0].Samples != len(demoImages())+1 || r[0].Failed != 1 {
		t.Errorf("code %d, %s%s", code, printed, said)
	}
}

// TestRelabelDecodesLatents labels a tar of latents, one of which has the wrong
// shape, and compares with what score says of them.
func TestRelabelDecodesLatents(t *testing.T) {
	latents := caseLatents(t, "vae-sd3-nano.6x10.latents")
	dir, out := t.TempDir(), t.TempDir()
	files := latentShard(t, filepath.Join(dir, "shard.tar"), latents)
	flags := []string{"--model", smallDir, "--threads", "1", "--vae", filepath.Join(vaeDir, "vae-sd3-nano")}
	code, printed, said := densereward(t, append([]string{"relabel", dir, "--out", out, "--maps", "dense"}, flags...)...)
	if code != exitPartial || !strings.Contains(printed, `"failed":1,`) {
		t.Fatalf("exit code %d: %s%s", code, said, printed)
	}
	_, scored, said := densereward(t, append(append([]string{"score", "--prompt", "a red cube"}, flags...), files...)...)
	var rows []*table.Row
	if err := table.Read(t.Context(), []string{filepath.Join(out, "shard.tar")}, os.Getenv, func(r *table.Row) error { rows = append(rows, r); return nil }); err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(strings.TrimSpace(scored), "\n") {
		var want struct{ Reward float64 }
		if err := json.Unmarshal([]byte(line), &want); err != nil {
			t.Fatalf("%v: %s%s", err, line, said)
		}
		// Latents that are decoded alone may differ in the last bit of a pixel.
		if got, ok := rows[i].Float("reward"); !ok || math.Abs(got-want.Reward) > 1e-6 {
			t.Errorf("latents %d: reward %v, score says %v", i, rows[i].Fields["reward"], want.Reward)
		}
		if m, there, err := rows[i].Map("dense"); err != nil || !there || m.Height != latents.Shape[2] || m.Width != latents.Shape[3] {
			t.Errorf("latents %d: a map of %dx%d for latents of %v, %v", i, m.Height, m.Width, latents.Shape, err)
		}
	}
}

// latentShard writes a tar of latents and, last, of some with the wrong shape. It returns
// the files that hold the right ones.
func latentShard(t *testing.T, path string, latents *reward.Tensor) (files []string) {
	t.Helper()
	shard, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewWriter(shard)
	add := func(name string, data []byte) {
		if err := archive.WriteHeader(&tar.Header{Name: name, Size: int64(len(data)), Mode: 0o600}); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	maps := t.TempDir()
	for i := range latents.Shape[0] {
		var file bytes.Buffer
		if err := npy.Write(&file, npy.Array{Descr: string(latents.Type), Shape: latents.Shape[1:], Data: latents.Part(i, i+1).Data}); err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprint(i, ".npy")
		add(name, file.Bytes())
		add(fmt.Sprint(i, ".txt"), []byte("a red cube"))
		files = append(files, filepath.Join(maps, name))
		if err := os.WriteFile(files[i], file.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var odd bytes.Buffer
	if err := npy.WriteFloat32(&odd, make([]float32, 6), 3, 2); err != nil {
		t.Fatal(err)
	}
	add("odd.npy", odd.Bytes())
	add("odd.txt", []byte("a red cube"))
	if err := errors.Join(archive.Close(), shard.Close()); err != nil {
		t.Fatal(err)
	}
	return files
}
