package embedded

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/fstest"
)

// small is a checkpoint whose contents do not matter.
var small = Checkpoint{Name: "small", Files: fstest.MapFS{
	"config.json": {Data: []byte("{ }")}, "tokenizer.json": {Data: []byte(`{"model": {}}`)}, "model.safetensors": {Data: make([]byte, 1000)},
}}

func open(t *testing.T, cache string) string {
	t.Helper()
	dir, err := small.Open(cache)
	if err != nil {
		t.Fatal(err)
	}
	if !small.intact(dir) {
		t.Fatalf("%s is not the checkpoint", dir)
	}
	return dir
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestTheCheckpointIsLaidOutWholeAndAlone(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "a", "b")
	dir := open(t, cache)
	want := []string{"config.json", "model.safetensors", "tokenizer.json"}
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Errorf("files %v, want %v", got, want)
	}
	if got := names(t, cache); len(got) != 1 {
		t.Errorf("left behind in the cache: %v", got)
	}
}

func TestASecondOpenFindsTheFirstOnesFolder(t *testing.T) {
	cache := t.TempDir()
	first := open(t, cache)
	info, err := os.Stat(first)
	if err != nil {
		t.Fatal(err)
	}
	second := open(t, cache)
	again, err := os.Stat(second)
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(info, again) {
		t.Errorf("%s was written again as %s", first, second)
	}
}

func TestADamagedFolderIsWrittenAnew(t *testing.T) {
	for name, damage := range map[string]func(file string) error{
		"a file was cut short": func(f string) error { return os.Truncate(f, 5) },
		"a file was removed":   os.Remove,
		"a file was changed":   func(f string) error { return os.WriteFile(f, []byte("{}"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			cache := t.TempDir()
			if err := damage(filepath.Join(open(t, cache), "tokenizer.json")); err != nil {
				t.Fatal(err)
			}
			open(t, cache)
			if got := names(t, cache); len(got) != 1 {
				t.Errorf("left behind in the cache: %v", got)
			}
		})
	}
}

func TestManyCanOpenAtOnce(t *testing.T) {
	cache := t.TempDir()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			dir, err := small.Open(cache)
			if err != nil || !small.intact(dir) {
				t.Errorf("opening %q: %v", dir, err)
			}
		})
	}
	all.Wait()
	if got := names(t, cache); len(got) != 1 {
		t.Errorf("left behind in the cache: %v", got)
	}
}

func TestAFolderThatCannotBeWrittenIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if dir, err := small.Open(file); err == nil {
		t.Errorf("opened %s below a file", dir)
	}
	if err := small.Write(filepath.Join(file, "x")); err == nil {
		t.Error("wrote below a file")
	}
}
