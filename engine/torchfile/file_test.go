package torchfile

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/safetensors"
)

// expected is what testdata/make.py found in a file, or why it is refused.
type expected struct {
	Reason  string
	Tensors map[string]struct {
		DType safetensors.DType
		Shape []int64
		Data  string // hex
	}
}

func readExpected(t testing.TB) map[string]expected {
	t.Helper()
	data, err := os.ReadFile("testdata/expected.json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]expected
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) < 16 {
		t.Fatalf("%d files", len(all))
	}
	return all
}

func TestFilesHoldWhatTorchFindsInThem(t *testing.T) {
	for name, want := range readExpected(t) {
		t.Run(name, func(t *testing.T) {
			c, err := Open(filepath.Join("testdata", name))
			if want.Reason != "" {
				if err == nil || !strings.Contains(err.Error(), want.Reason) || !strings.Contains(err.Error(), name) {
					t.Errorf("error %v does not say %q", err, want.Reason)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(c.Names()) != len(want.Tensors) {
				t.Errorf("tensors %v, want %d", c.Names(), len(want.Tensors))
			}
			for name, w := range want.Tensors {
				got, ok := c.Tensor(name)
				if !ok || got.DType != w.DType || !slices.Equal(got.Shape, w.Shape) {
					t.Errorf("%s is %+v, want %v %v", name, got, w.DType, w.Shape)
					continue
				}
				data, err := c.Read(name)
				if err != nil || hex.EncodeToString(data) != w.Data {
					t.Errorf("%s holds %x, %v, want %s", name, data, err, w.Data)
				}
			}
		})
	}
	if _, err := os.Stat("/tmp/densereward-was-here"); err == nil {
		t.Error("code of a file was run")
	}
}

func TestWhatIsNoFileOfTorchIsAnError(t *testing.T) {
	dir := t.TempDir()
	for name, data := range map[string]string{"empty": "", "text": "hello", "a pointer": "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"} {
		path := filepath.Join(dir, "x.pt")
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
}
