package main

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/denseflow/densereward/cmd/densereward/offline"
)

// candidateFolders has the demo's images as candidates for two prompts, and one
// that is broken.
func candidateFolders(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for i, path := range demoImages() {
		group := []string{"a_red_cube", "second"}[i%2]
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		target := filepath.Join(dir, group, filepath.Base(path))
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(target, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"second/prompt.txt": "a lighthouse at night\n", "second/broken.png": "no image"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRankPicksTheBestOfEachFolder(t *testing.T) {
	in, best, linked := candidateFolders(t), t.TempDir(), t.TempDir()
	code, out, said := densereward(t, "rank", in, "--model", smallDir, "--threads", "1", "--json", "--copy", best)
	if code != exitPartial {
		t.Fatalf("exit code %d: %s", code, said)
	}
	rows := lines[offline.Candidate](t, out)
	if len(rows) != len(demoImages())+1 {
		t.Fatalf("%d candidates", len(rows))
	}
	winners := map[string]string{}
	for i, r := range rows {
		if r.Name == "broken.png" {
			if r.Place != 0 || r.Score != nil || !strings.HasPrefix(r.Error, "image_") || i != len(rows)-1 {
				t.Errorf("the broken image: %+v at %d", r, i)
			}
			continue
		}
		if _, known := winners[r.Group]; !known {
			if r.Place != 1 {
				t.Errorf("%s begins with place %d", r.Group, r.Place)
			}
			winners[r.Group] = r.Name
		}
		if i > 0 && rows[i-1].Group == r.Group && *rows[i-1].Score < *r.Score {
			t.Errorf("%s comes before %s", rows[i-1].Name, r.Name)
		}
	}
	for group, name := range winners {
		want, err := os.ReadFile(filepath.Join(in, group, name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(best, group, "1-"+name))
		if err != nil || string(got) != string(want) {
			t.Errorf("the winner of %s: %v", group, err)
		}
	}
	code, out, said = densereward(t, "rank", in, "--model", smallDir, "--threads", "1", "--top", "2", "--link", linked)
	if code != exitPartial || !strings.HasPrefix(out, "group") {
		t.Errorf("exit code %d: %s%s", code, said, out)
	}
	for group := range winners {
		entries, err := os.ReadDir(filepath.Join(linked, group))
		if err != nil || len(entries) != 2 {
			t.Errorf("%s: %d links, %v", group, len(entries), err)
		}
	}
}

func TestRankTakesWhatWasLabelledBefore(t *testing.T) {
	file := writeLines(t, "p.jsonl",
		`{"id":1,"prompt":"x","reward":0.5,"overall":1}`, `{"id":2,"prompt":"x","reward":0.7,"overall":1}`,
		`{"id":3,"prompt":"y","reward":null,"error_code":"image_corrupt"}`, `{"id":4,"prompt":"x","reward":0.6,"overall":0}`)
	code, out, _ := densereward(t, "rank", file)
	if want := "group  place  score          name\nx      1      0.7000         2\nx      2      0.6000         4\nx      3      0.5000         1\ny      –      image_corrupt  3\n"; code != exitPartial || out != want {
		t.Errorf("exit code %d:\n%s\nwant\n%s", code, out, want)
	}
	if code, out, _ = densereward(t, "rank", file, "--score", "overall"); code != exitPartial || !strings.Contains(out, "x      1      1.0000         1\nx      1      1.0000         2\nx      3      0.0000         4\n") {
		t.Errorf("ties:\n%s", out)
	}
	for _, c := range []struct{ flag, value, want string }{
		{"--by", "kind", "none of the columns"}, {"--score", "charm", `no number "charm"`}, {"--link", t.TempDir(), "no file that could be linked"},
	} {
		if code, _, said := densereward(t, "rank", file, c.flag, c.value); code != exitFailure || !strings.Contains(said, c.want) {
			t.Errorf("%s %s: exit code %d, %s", c.flag, c.value, code, said)
		}
	}
}

// Winners that are links lead to the candidates: a copy must not write through them.
func TestRankLeavesWhatIsThereAlone(t *testing.T) {
	in, best := candidateFolders(t), t.TempDir()
	before := readFolder(t, in)
	for i, flag := range []string{"--link", "--copy"} {
		code, _, said := densereward(t, "rank", in, "--model", smallDir, "--threads", "1", flag, best)
		if i == 0 && code != exitPartial || i == 1 && (code != exitFailure || !strings.Contains(said, "is not empty")) {
			t.Errorf("%s: exit code %d: %s", flag, code, said)
		}
	}
	if after := readFolder(t, in); !maps.Equal(before, after) {
		t.Error("the candidates have changed")
	}
}

func readFolder(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, path))
		all[path] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestRankTakesCandidatesFromSeveralFolders(t *testing.T) {
	one, two := candidateFolders(t), candidateFolders(t)
	code, out, said := densereward(t, "rank", one, two, "--model", smallDir, "--threads", "1", "--json", "--top", "100", "--copy", t.TempDir())
	rows := lines[offline.Candidate](t, out)
	if code != exitPartial || len(rows) != 2*(len(demoImages())+1) {
		t.Fatalf("exit code %d, %d candidates: %s", code, len(rows), said)
	}
	names := map[string]bool{}
	for _, r := range rows {
		if names[r.Name] {
			t.Errorf("two candidates are called %s", r.Name)
		}
		names[r.Name] = true
	}
	if err := os.WriteFile(filepath.Join(two, "second", "prompt.txt"), []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, said = densereward(t, "rank", one, two, "--model", smallDir, "--threads", "1"); code != exitFailure || !strings.Contains(said, "two folders second") {
		t.Errorf("exit code %d: %s", code, said)
	}
}
