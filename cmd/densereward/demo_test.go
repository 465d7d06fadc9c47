package main

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
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
		if n, want := strings.Count(out, prompt+"\n"), max(1, 2-i); n != want { // the first one also has latents
			t.Errorf("%q is a headline %d times, want %d, in\n%s", prompt, n, want, out)
		}
		if advantages := advantagesOf(t, out, demo.Names(prompt)); slices.Max(advantages) != advantages[0] || slices.Max(advantages[1:]) >= 0 {
			t.Errorf("%s: the first image is right and the others are not; advantages %v", prompt, advantages)
		}
	}
	advantagesOf(t, out, []string{"latents-0", "latents-1", "latents-2", "latents-3"})
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

// advantagesOf reads the advantages of images off the demo's tables.
func advantagesOf(t *testing.T, out string, names []string) []float64 {
	t.Helper()
	var all []float64
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
		all = append(all, advantage)
	}
	return all
}
