package main

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/denseflow/densereward/cmd/densereward/demo"
	"github.com/denseflow/densereward/engine/imagedoctor/pocket"
)

func TestDemoShowsScoresRewardsAndAdvantages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "overlays")
	code, out, said := densereward(t, "demo", "-threads", "1", "-out", dir)
	if code != exitOK {
		t.Fatalf("exit code %d, said %q", code, said)
	}
	if !strings.Contains(said, pocket.Note) {
		t.Errorf("said %q", said)
	}
	for i, prompt := range demo.Prompts() {
		if n, want := strings.Count(out, prompt+"\n"), 2-i; n != want { // the first one also has latents
			t.Errorf("%q is a headline %d times, want %d, in\n%s", prompt, n, want, out)
		}
	}
	// image, four scores, reward, advantage, mean weight
	row := regexp.MustCompile(`(?m)^ +(circle|square|latents)(-flawed|-\d)?( +[01]\.\d\d){4} +[01]\.\d{3} +[+-]\d\.\d{3} +[01]\.\d{3}$`)
	if n := len(row.FindAllString(out, -1)); n != 12 {
		t.Errorf("%d rows in\n%s", n, out)
	}
	for _, want := range []string{"8 images sent as PNG files", "4 images sent as latents [4 16 64 64]", dir} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	overlays, err := filepath.Glob(filepath.Join(dir, "*.overlay.png"))
	if err != nil || len(overlays) != 12 {
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

// The point of the demo is lost if a group's images all get one score.
func TestTheImagesOfAPromptDiffer(t *testing.T) {
	for _, prompt := range demo.Prompts() {
		_, out, _ := densereward(t, append([]string{"score", "-threads", "1", "-model", nanoDir, "-prompt", prompt}, demoImages()...)...)
		rewards := map[float64]bool{}
		for _, r := range lines[record](t, out) {
			rewards[r.Reward] = true
		}
		if len(rewards) < 2 {
			t.Errorf("%q: all rewards are equal", prompt)
		}
	}
}
