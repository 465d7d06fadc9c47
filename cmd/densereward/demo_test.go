package main

import (
	"bytes"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/denseflow/densereward/cmd/densereward/demo"
)

// TestDemoShowsScoresRewardsAndAdvantages is of the miniature. What the pocket checkpoint
// makes of the images is checked by demo/check.py.
func TestDemoShowsScoresRewardsAndAdvantages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "overlays")
	code, out, said := densereward(t, "demo", "-threads", "1", "-model", smallDir, "-out", dir)
	if code != exitOK || said != "" {
		t.Fatalf("exit code %d, said %q", code, said)
	}
	for i, prompt := range demo.Prompts() {
		if n, want := strings.Count(out, prompt+"\n"), max(1, 2-i); n != want { // the first one also has latents
			t.Errorf("%q is a headline %d times, want %d, in\n%s", prompt, n, want, out)
		}
		checkAdvantages(t, out, demo.Names(prompt))
	}
	checkAdvantages(t, out, []string{"latents-0", "latents-1", "latents-2", "latents-3"})
	for _, want := range []string{"12 images sent as PNG files", "4 images sent as latents [4 16 64 64]", dir} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	overlays, err := filepath.Glob(filepath.Join(dir, "*.overlay.png"))
	if err != nil || len(overlays) != 16 {
		t.Fatalf("overlays %v, %v", overlays, err)
	}
	for _, path := range append(overlays, filepath.Join(dir, "images.png"), filepath.Join(dir, "latents.png")) {
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := png.DecodeConfig(bytes.NewReader(file)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// checkAdvantages holds the advantages of a group in the demo's tables against their
// meaning: they add up to nothing.
func checkAdvantages(t *testing.T, out string, names []string) {
	t.Helper()
	var sum float64
	for _, name := range names {
		// image, four scores, reward, advantage, mean weight
		row := regexp.MustCompile(`(?m)^ +` + name + `( +[01]\.\d\d){4} +[01]\.\d{3} +([+-]\d\.\d{3}) +[01]\.\d{3}$`).FindStringSubmatch(out)
		if row == nil {
			t.Fatalf("no row of %s in\n%s", name, out)
		}
		advantage, err := strconv.ParseFloat(row[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += advantage
	}
	if math.Abs(sum) > 0.0005*float64(len(names))+1e-9 {
		t.Errorf("the advantages of %v add up to %v", names, sum)
	}
}
