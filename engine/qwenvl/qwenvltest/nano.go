package qwenvltest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/denseflow/densereward/engine/tokenizer"
)

// Nano is the folder of a miniature of ImageDoctor, a Qwen2.5-VL with heads, whatever
// folder of package engine the test runs in.
func Nano(t testing.TB) string { return fromEngine(t, "imagedoctor/nano") }

// NanoCases is the folder of what the reference computes with it.
func NanoCases(t testing.TB) string { return fromEngine(t, "imagedoctor/testdata/cases") }

func fromEngine(t testing.TB, path string) string {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for filepath.Base(folder) != "engine" {
		if folder == filepath.Dir(folder) {
			t.Fatal("qwenvltest: the test does not run below the folder engine")
		}
		folder = filepath.Dir(folder)
	}
	return filepath.Join(folder, path)
}

// SmallImages is a preprocessor's configuration with which images are squashed to a side of
// 140, the largest square below 20000 pixels that 28 divides: they take little time.
const SmallImages = `{"max_pixels": 20000}`

// LinkNano is a folder of links to the miniature's files, with the given files in place of
// some of them. An empty content leaves the file out.
func LinkNano(t testing.TB, nano string, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if err := LinkInto(dir, nano, files); err != nil {
		t.Fatal(err)
	}
	return dir
}

// LinkInto is LinkNano in a folder that there is.
func LinkInto(dir, nano string, files map[string]string) error {
	names, err := filepath.Glob(filepath.Join(nano, "*.*s*o*")) // .json and .safetensors
	if err != nil || len(names) != 6 {
		return fmt.Errorf("the miniature has the files %v: %w", names, err)
	}
	for _, name := range names {
		target, err := filepath.Abs(name)
		if err != nil {
			return err
		}
		if _, replaced := files[filepath.Base(name)]; replaced {
			continue
		}
		if err := os.Symlink(target, filepath.Join(dir, filepath.Base(name))); err != nil {
			return err
		}
	}
	for name, content := range files {
		if content == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// NanoCase is what the reference computes for one image with the miniature's weights, in
// float32 on a CPU and without an answer prefix.
type NanoCase struct {
	Name         string  `json:"name"` // of the image, without .png
	Prompt       string  `json:"prompt"`
	InputIDs     []int32 `json:"input_ids"` // not in penalty.json
	GeneratedIDs []int32 `json:"generated_ids"`
	Text         string  `json:"text"`

	// The positions of three prompt tokens: temporal, row, column.
	PositionTail       [3]int `json:"position_ids_tail"`
	PositionImageFirst [3]int `json:"position_ids_image_first"`
	PositionImageLast  [3]int `json:"position_ids_image_last"`
}

// ReadNanoCases reads the six cases of a file in NanoCases.
func ReadNanoCases(t testing.TB, file string) []NanoCase {
	t.Helper()
	var cases []NanoCase
	ReadJSON(t, filepath.Join(NanoCases(t), file), &cases)
	if len(cases) != 6 {
		t.Fatalf("%s has %d cases, not 6", file, len(cases))
	}
	return cases
}

// NanoTokenizer is the miniature's tokenizer.
func NanoTokenizer(t testing.TB) *tokenizer.Tokenizer {
	t.Helper()
	tok, err := tokenizer.Load(filepath.Join(Nano(t), "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// ReadJSON reads a file into v.
func ReadJSON(t testing.TB, path string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(ReadText(t, path)), v); err != nil {
		t.Fatal(err)
	}
}

// ReadText is a file's content.
func ReadText(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// WriteFolder makes a folder of files by their names, which lasts as long as the test.
func WriteFolder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
