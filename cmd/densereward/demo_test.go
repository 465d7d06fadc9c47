package main

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestDemoShowsScoresRewardsAndAdvantages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "overlays")
	code, out, said := densereward(t, "demo", "-out", dir)
	if code != exitOK {
		t.Fatalf("exit code %d, said %q", code, said)
	}
	if !strings.Contains(said, "not fit for training") {
		t.Errorf("said %q", said)
	}
	for _, prompt := range demoPrompts() {
		if strings.Count(out, prompt+"\n") != 1 {
			t.Errorf("%q is not a headline of\n%s", prompt, out)
		}
	}
	// picture, four scores, reward, advantage, mean weight
	row := regexp.MustCompile(`(?m)^ +(circle|square)(-flawed)?( +[01]\.\d\d){4} +[01]\.\d{3} +[+-]\d\.\d{3} +[01]\.\d{3}$`)
	if n := len(row.FindAllString(out, -1)); n != 8 {
		t.Errorf("%d rows in\n%s", n, out)
	}
	if !strings.Contains(out, "8 pictures judged by imagedoctor at http://127.0.0.1:") || !strings.Contains(out, dir) {
		t.Errorf("output\n%s", out)
	}
	overlays, err := filepath.Glob(filepath.Join(dir, "*.overlay.png"))
	if err != nil || len(overlays) != 8 {
		t.Fatalf("overlays %v, %v", overlays, err)
	}
	for _, path := range overlays {
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := png.DecodeConfig(bytes.NewReader(file)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// The point of the demo is lost if a group's pictures all get one score.
func TestThePicturesOfAPromptDiffer(t *testing.T) {
	for _, prompt := range demoPrompts() {
		_, out, _ := densereward(t, append([]string{"score", "-model", nanoDir, "-prompt", prompt}, demoImages()...)...)
		rewards := map[float64]bool{}
		for _, r := range lines[record](t, out) {
			rewards[r.Reward] = true
		}
		if len(rewards) < 2 {
			t.Errorf("%q: all rewards are equal", prompt)
		}
	}
}
