package safetensors

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTheFolderHoldsEveryFile(t *testing.T) {
	root := resolve(t, t.TempDir())
	tests := []struct {
		name   string
		files  []string
		folder string
		want   []string
	}{
		{"one file", []string{"a/x"}, "a", []string{"x"}},
		{"one folder", []string{"a/x", "a/y"}, "a", []string{"x", "y"}},
		{"a folder in another", []string{"a/x", "a/b/c/y"}, "a", []string{"x", "b/c/y"}},
		{"the outer one last", []string{"a/b/c/y", "a/x"}, "a", []string{"b/c/y", "x"}},
		{"two folders", []string{"a/x", "ab/y"}, "", []string{"a/x", "ab/y"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := &Checkpoint{tensors: map[string]Tensor{}}
			for _, f := range test.files {
				path := filepath.Join(root, filepath.FromSlash(f))
				c.files = append(c.files, openedFile{path: path})
				c.tensors[f] = Tensor{Name: f, Path: path}
			}
			if err := c.settle(); err != nil {
				t.Fatal(err)
			}
			if want := filepath.Join(root, test.folder); c.Folder() != want {
				t.Errorf("folder %s, want %s", c.Folder(), want)
			}
			for i, f := range test.files {
				if got := c.tensors[f].File; got != test.want[i] {
					t.Errorf("%s is %s from there, want %s", f, got, test.want[i])
				}
			}
		})
	}
}

func TestChangesOnDiskAreNoticed(t *testing.T) {
	later := time.Now().Add(time.Hour)
	tests := []struct {
		name   string
		change func(path string) error
		want   bool
	}{
		{"none", func(string) error { return nil }, false},
		{"reading", func(path string) error { _, err := os.ReadFile(path); return err }, false},
		{"cut", func(path string) error { return os.Truncate(path, 20) }, true},
		{"removed", os.Remove, true},
		{"written to in place", func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte{1}, 70)
			return errors.Join(err, f.Close(), os.Chtimes(path, later, later)) // however coarse the clock
		}, true},
		{"replaced by a copy of the same time", func(path string) error {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			data, err := os.ReadFile(path)
			return errors.Join(err, os.WriteFile(path+".new", data, 0o600), os.Chtimes(path+".new", info.ModTime(), info.ModTime()), os.Rename(path+".new", path))
		}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := folder(t, map[string]any{"model.safetensors": []Source{bytesSource("one", 1, 2, 3)}})
			c, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "model.safetensors")
			if err := test.change(path); err != nil {
				t.Fatal(err)
			}
			err = c.Unchanged()
			if errors.Is(err, ErrChanged) != test.want || err != nil && !strings.Contains(err.Error(), path) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestTensorsAreFoundUnderTheirNewNames(t *testing.T) {
	c, err := Open(folder(t, map[string]any{"model.safetensors": []Source{bytesSource("module.one", 1), bytesSource("two", 2)}}))
	if err != nil {
		t.Fatal(err)
	}
	renamed, err := c.Rename(func(name string) string { return strings.TrimPrefix(name, "module.") })
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(renamed.Names(), " "); got != "one two" {
		t.Errorf("names %q", got)
	}
	if data, err := renamed.Read("one"); err != nil || string(data) != "\x01" {
		t.Errorf("read %v, %v", data, err)
	}
	if tensor, ok := renamed.Tensor("one"); !ok || tensor.Name != "one" {
		t.Errorf("tensor %+v", tensor)
	}
	if _, ok := c.Tensor("module.one"); !ok {
		t.Error("the checkpoint itself has changed")
	}
	plain, err := Open(folder(t, map[string]any{"model.safetensors": []Source{bytesSource("one", 1), bytesSource("two", 2)}}))
	if err != nil {
		t.Fatal(err)
	}
	a, errA := renamed.Fingerprint()
	b, errB := plain.Fingerprint()
	if a != b || errA != nil || errB != nil {
		t.Errorf("fingerprints %s and %s, %v, %v", a, b, errA, errB)
	}
	_, err = c.Rename(func(string) string { return "same" })
	if err == nil || !strings.Contains(err.Error(), `"module.one" and "two" both stand for "same"`) {
		t.Errorf("error %v", err)
	}
}
