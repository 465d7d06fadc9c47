// Package qwenvltest opens the miniatures of testdata for tests: a Qwen2.5-VL and a
// Qwen3-VL of random weights, and what transformers computes with them.
package qwenvltest

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/image/codec"
	"github.com/denseflow/densereward/internal/npy"
	"github.com/denseflow/densereward/reward"
)

// Case is what transformers computes for one image: see testdata/make.py.
type Case struct {
	Width        int     `json:"width"`
	Height       int     `json:"height"`
	Prompt       string  `json:"prompt"`
	Grid         [2]int  `json:"grid"` // patches: rows, columns
	InputIDs     []int32 `json:"input_ids"`
	GeneratedIDs []int32 `json:"generated_ids"`
	PixelsSHA256 string  `json:"pixels_sha256"`
}

// Sample is the case's image and prompt.
func (c Case) Sample() reward.Sample {
	return reward.Sample{Image: Pattern(c.Width, c.Height), Prompt: c.Prompt}
}

// Folder is the miniature in dir with its tokenizer, which is ImageDoctor's.
func Folder(t testing.TB, dir string) string {
	t.Helper()
	folder := t.TempDir()
	files, err := filepath.Glob(dir + "/*")
	if err != nil || len(files) != 6 {
		t.Fatalf("%s has the files %v, %v", dir, files, err)
	}
	for _, file := range append(files, filepath.Join(dir, "../../../imagedoctor/nano/tokenizer.json")) {
		target, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, filepath.Join(folder, filepath.Base(file))); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// Cases are the five of the miniature in dir, and the logits (5,vocabulary) behind
// their prompts.
func Cases(t testing.TB, dir string) (cases []Case, logits []float32) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &cases); err != nil || len(cases) != 5 {
		t.Fatalf("%d cases, not 5: %v", len(cases), err)
	}
	if data, err = os.ReadFile(filepath.Join(dir, "logits.npz")); err != nil {
		t.Fatal(err)
	}
	arrays, err := npy.ReadZip(bytes.NewReader(data), int64(len(data)), 1<<24)
	if err != nil {
		t.Fatal(err)
	}
	if logits, err = arrays["logits"].Float32s(); err != nil {
		t.Fatal(err)
	}
	return cases, logits
}

// Pattern is the image of testdata/make.py.
func Pattern(width, height int) *reward.Image {
	image := codec.NewImage(width, height)
	for i := range image.Pix {
		x, y, c := i/3%width, i/3/width, i%3
		image.Pix[i] = uint8(x*x + 3*y*(c+1) + x*y/7 + 40*c)
	}
	return image
}

// EditConfig is a configuration file with keys set, or removed where the value is nil. A key
// of the vision tower is written vision_config.key.
func EditConfig(t testing.TB, path string, changes map[string]any) string {
	t.Helper()
	var file map[string]any
	ReadJSON(t, path, &file)
	for key, value := range changes {
		section := file
		if name, ok := strings.CutPrefix(key, "vision_config."); ok {
			section, key = file["vision_config"].(map[string]any), name
		}
		if value == nil {
			delete(section, key)
		} else {
			section[key] = value
		}
	}
	data, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
