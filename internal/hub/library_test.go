package hub

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// entry is a file or link of a cache as testdata/make.py writes it down.
type entry struct {
	Link string          `json:"link,omitempty"`
	Text string          `json:"text,omitempty"`
	JSON json.RawMessage `json:"json,omitempty"`
}

// libraryCache is what huggingface_hub keeps of a model.
func libraryCache(t *testing.T) map[string]entry {
	t.Helper()
	data, err := os.ReadFile("testdata/cache.json")
	if err != nil {
		t.Fatal(err)
	}
	var cache map[string]entry
	if err := json.Unmarshal(data, &cache); err != nil {
		t.Fatal(err)
	}
	return cache
}

// likeTheLibrarys is a hub with the files of testdata/make.py's.
func likeTheLibrarys(t *testing.T) *fakeHub {
	h := newFakeHub(t)
	h.files = map[string]string{
		"config.json": `{"model_type": "clip"}`, "README.md": "words", "merges.txt": "#version: 0.2\n",
		"model.safetensors": strings.Repeat("0123456789abcdef", 64), "vae/config.json": "{}",
	}
	return h
}

func threeFiles([]string, func(string) ([]byte, error)) ([]string, error) {
	return []string{"config.json", "merges.txt", "model.safetensors"}, nil
}

func TestTheLibrarysCacheIsUsedInPlace(t *testing.T) {
	for _, without := range []string{"", "trees"} { // older versions keep no listings
		h := likeTheLibrarys(t)
		s := h.cached(t)
		s.Offline = true
		for name, e := range libraryCache(t) {
			path := filepath.Join(s.Cache, filepath.FromSlash(name))
			if without != "" && strings.Contains(name, without) {
				continue
			}
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			var err error
			if e.Link != "" {
				err = os.Symlink(filepath.FromSlash(e.Link), path)
			} else {
				err = os.WriteFile(path, []byte(e.Text+string(e.JSON)), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		before := tree(t, s.Cache)
		found, err := s.Find(t.Context(), model, threeFiles)
		if err != nil {
			t.Fatal(err)
		}
		h.holds(t, found.Path, "config.json", "merges.txt", "model.safetensors")
		if after := tree(t, s.Cache); !slices.Equal(before, after) {
			t.Errorf("the cache changed from %q to %q", before, after)
		}
	}
}

func TestWhatIsWrittenIsWhatTheLibraryWrites(t *testing.T) {
	h := likeTheLibrarys(t)
	s := h.cached(t)
	if _, err := s.Find(t.Context(), model, threeFiles); err != nil {
		t.Fatal(err)
	}
	got := map[string]entry{}
	err := filepath.WalkDir(s.Cache, func(path string, e os.DirEntry, err error) error {
		name, _ := filepath.Rel(s.Cache, path)
		name = filepath.ToSlash(name)
		switch {
		case err != nil || e.IsDir() || strings.HasPrefix(name, ".locks"):
			return err
		case e.Type() == os.ModeSymlink:
			link, err := os.Readlink(path)
			got[name] = entry{Link: filepath.ToSlash(link)}
			return err
		}
		text, err := os.ReadFile(path)
		got[name] = entry{Text: string(text)}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := libraryCache(t)
	if g, w := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)); !slices.Equal(g, w) {
		t.Fatalf("got %q, want %q", g, w)
	}
	for name, w := range want {
		g := got[name]
		if w.JSON == nil {
			if g.Link != w.Link || g.Text != w.Text {
				t.Errorf("%s: got %+v, want %+v", name, g, w)
			}
			continue
		}
		var a, b any
		if json.Unmarshal([]byte(g.Text), &a) != nil || json.Unmarshal(w.JSON, &b) != nil || !reflect.DeepEqual(a, b) {
			t.Errorf("%s: got %s, want %s", name, g.Text, w.JSON)
		}
	}
}
