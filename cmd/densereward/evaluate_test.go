package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward/metrics/report"
)

func writeLines(t *testing.T, name string, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEvaluateMeasuresWhatRelabelWrote(t *testing.T) {
	out := t.TempDir()
	if code, _, said := densereward(t, "relabel", imageList(t), "--out", out, "--model", smallDir, "--threads", "1"); code != exitPartial {
		t.Fatal(said)
	}
	page := filepath.Join(t.TempDir(), "page.html")
	code, printed, said := densereward(t, "evaluate", out, "--html", page)
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, said)
	}
	var r report.Report
	if err := json.Unmarshal([]byte(printed), &r); err != nil {
		t.Fatal(err)
	}
	if r.Failed != 1 || len(r.Means) != 5 || r.Means[0].Score != "reward" || r.Means[0].N != len(demoImages()) {
		t.Errorf("%s", printed)
	}
	text, err := os.ReadFile(page)
	if err != nil || !strings.Contains(string(text), "data:image/png;base64,") {
		t.Errorf("the page has no image, %v", err)
	}
}

func TestEvaluateFindsTheTruthByItsKeys(t *testing.T) {
	predictions := writeLines(t, "p.jsonl",
		`{"id":1,"scores":{"overall":0.1},"reward":0.5,"artifact":[[0,1]],"boxes":[]}`, `{"id":2,"scores":{"overall":0.4},"reward":0.6,"artifact":[[0,1]],"boxes":[]}`,
		`{"id":3,"scores":{"overall":0.2},"reward":0.7,"artifact":[[0,1]],"boxes":[]}`)
	truth := writeLines(t, "t.csv", `id,overall`, `3,0.3`, `2,0.9`)
	code, printed, said := densereward(t, "evaluate", predictions, "--truth", truth)
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, said)
	}
	var r report.Report
	if err := json.Unmarshal([]byte(printed), &r); err != nil {
		t.Fatal(err)
	}
	if r.Unmatched != 1 || len(r.Agreement) != 1 || r.Agreement[0].Score != "overall" || r.Agreement[0].N != 2 || r.Agreement[0].PLCC.Value < 1-1e-12 {
		t.Errorf("%s", printed)
	}
	preferences := writeLines(t, "pairs.jsonl", `{"better":"3","worse":"1"}`)
	if code, printed, said = densereward(t, "evaluate", predictions, "--against", predictions, "--preferences", preferences, "--markdown"); code != exitOK ||
		!strings.Contains(printed, "## Against the other model") || !strings.Contains(printed, "| reward | 1 | 1 | 0 | 0 | 1.0000") {
		t.Errorf("exit code %d: %s%s", code, said, printed)
	}
}

func TestEvaluateChecksItsCommandLine(t *testing.T) {
	file := writeLines(t, "p.jsonl", `{"id":1,"quality":0.1}`, `{"id":1,"quality":0.2}`)
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"a level that is none":      {[]string{file, "--level", "95"}, exitUsage, "--level: "},
		"no rounds":                 {[]string{file, "--rounds", "0"}, exitUsage, "--rounds: "},
		"no usual score":            {[]string{file}, exitUsage, "--score: "},
		"a pair that is none":       {[]string{file, "--score", "quality", "--pair", "=x"}, exitUsage, "--pair: "},
		"a score that is not there": {[]string{file, "--score", "charm"}, exitFailure, `no number "charm"`},
		"a key of two rows":         {[]string{file, "--score", "quality", "--truth", file}, exitFailure, `"1" is the key of two rows`},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, said := densereward(t, append([]string{"evaluate"}, c.args...)...)
			if code != c.code || !strings.Contains(said, c.want) {
				t.Errorf("exit code %d, said %q; want %d and %q", code, said, c.code, c.want)
			}
		})
	}
}

// TestEvaluateShowsImagesThatTheOutputNamesOnly relabels rows with paths beside
// them, whose captions are in a column text, and looks for the images from
// elsewhere.
func TestEvaluateShowsImagesThatTheOutputNamesOnly(t *testing.T) {
	in, out := t.TempDir(), t.TempDir()
	data, err := os.ReadFile(demoImages()[0])
	if err != nil {
		t.Fatal(err)
	}
	name := "image" + filepath.Ext(demoImages()[0])
	for file, data := range map[string][]byte{name: data, "list.jsonl": []byte(`{"image":"` + name + `","text":"a red cube"}` + "\n")} {
		if err := os.WriteFile(filepath.Join(in, file), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	code, summary, said := densereward(t, "relabel", in, "--out", out, "--model", smallDir, "--threads", "1")
	if code != exitOK || !strings.Contains(summary, `"column_prefix":"densereward_"`) {
		t.Fatalf("exit code %d: %s%s", code, summary, said)
	}
	images := func(args ...string) int {
		page := filepath.Join(t.TempDir(), "page.html")
		code, printed, said := densereward(t, append([]string{"evaluate", filepath.Join(out, "list.jsonl"), "--html", page}, args...)...)
		if code != exitOK || !strings.Contains(printed, `"densereward_reward"`) {
			t.Fatalf("exit code %d: %s%s", code, printed, said)
		}
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(text), "data:image/png;base64,")
	}
	if images() == 0 {
		t.Error("no image from where relabel read the shard")
	}
	moved := t.TempDir()
	if err := os.Rename(filepath.Join(in, name), filepath.Join(moved, name)); err != nil {
		t.Fatal(err)
	}
	if n := images(); n != 0 {
		t.Errorf("%d images that are nowhere", n)
	}
	if images("--images", moved) == 0 {
		t.Error("no image from --images")
	}
	if code, _, said := densereward(t, "evaluate", out, "--html", filepath.Join(moved, "x.html"), "--images", filepath.Join(moved, name)); code != exitUsage || !strings.Contains(said, "--images: ") {
		t.Errorf("exit code %d: %s", code, said)
	}
}
