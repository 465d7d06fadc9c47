package main

import (
	"bytes"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/denseflow/densereward/cmd/densereward/demo"
	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/internal/npy"
	"github.com/denseflow/densereward/internal/numtest"
)

func readArray(t *testing.T, path string, shape ...int) []float32 {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	a, err := npy.Read(file, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if a.Descr != "<f4" || !slices.Equal(a.Shape, shape) {
		t.Fatalf("%s is %s of shape %v, want <f4 of %v", filepath.Base(path), a.Descr, a.Shape, shape)
	}
	values, err := a.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	return values
}

func TestMapsAreThoseOfTheReference(t *testing.T) {
	want := readCases(t, "cases.json")[0]
	dir := filepath.Join(t.TempDir(), "new", "maps")
	code, _, said := densereward(t, "score", "-threads", "1", "-model", nanoDir, "-prefix", "", "-prompt", want.Prompt,
		"-out", dir, filepath.Join(casesDir, want.Name+".png"))
	if code != exitOK {
		t.Fatalf("exit code %d, said %q", code, said)
	}
	archive, err := os.ReadFile(filepath.Join(casesDir, want.Name+".npz"))
	if err != nil {
		t.Fatal(err)
	}
	arrays, err := npy.ReadZip(bytes.NewReader(archive), int64(len(archive)), 1<<24)
	if err != nil {
		t.Fatal(err)
	}
	reference := func(name string) []float32 {
		values, err := arrays[name].Float32s()
		if err != nil {
			t.Fatal(err)
		}
		return values
	}
	// The reference's own noise, with its processor's patches instead of ours.
	tolerance := numtest.Tolerance{Abs: 2e-2}
	for _, kind := range []string{"misalignment", "artifact"} {
		got := readArray(t, filepath.Join(dir, want.Name+"."+kind+".npy"), 288, 288)
		numtest.Slice(t, kind, got, reference(kind), tolerance)
	}
	// sd3 is the default grid: 64x64 for an image of 512x512.
	weight := readArray(t, filepath.Join(dir, want.Name+".dense.npy"), 64, 64)
	pooled := make([]float32, len(weight))
	dense.Combine(pooled, reference("misalignment_64"), reference("artifact_64"), 0.5, 0.5)
	dense.Weight(pooled, pooled)
	numtest.Slice(t, "dense", weight, pooled, tolerance)
}

func TestTheDenseMapFollowsTheGridFlagOrTheDecodersModel(t *testing.T) {
	for name, c := range map[string]struct {
		flag, value   string
		height, width int
	}{
		"explicit":           {"-grid", "12x20", 12, 20},
		"packed tokens":      {"-grid", "flux", 32, 32},
		"a decoder's latent": {"-vae", filepath.Join(vaeDir, "wan21-nano"), 128, 128},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			code, _, said := densereward(t, "score", "-threads", "1", "-model", smallDir, "-prompt", demo.Prompts()[0], c.flag, c.value, "-out", dir, demoImages()[0])
			if code != exitOK {
				t.Fatalf("exit code %d, said %q", code, said)
			}
			for _, v := range readArray(t, filepath.Join(dir, "circle.dense.npy"), c.height, c.width) {
				if !(v >= 0 && v <= 1) {
					t.Fatalf("weight %v", v)
				}
			}
		})
	}
}

func TestTheOverlayIsAnImageOfThreePanels(t *testing.T) {
	dir := t.TempDir()
	code, _, said := densereward(t, "score", "-threads", "1", "-model", smallDir, "-prompt", demo.Prompts()[0], "-out", dir, demoImages()[0])
	if code != exitOK {
		t.Fatalf("exit code %d, said %q", code, said)
	}
	file, err := os.Open(filepath.Join(dir, "circle.overlay.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	img, err := png.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	b := img.Bounds()
	if b.Dx() < 3*512 || b.Dy() < 512 {
		t.Errorf("%v for an image of 512x512", b)
	}
	// The first panel is the image itself: red in the middle of the circle.
	if r, g, blue, _ := img.At(b.Dx()/6, b.Dy()/2).RGBA(); r>>8 != 219 || g>>8 != 33 || blue>>8 != 33 {
		t.Errorf("colour %d %d %d in the middle of the image", r>>8, g>>8, blue>>8)
	}
}

func TestAnImageBelowACellHasAMapOfOne(t *testing.T) {
	small, out := filepath.Join(t.TempDir(), "small.png"), t.TempDir()
	var file bytes.Buffer
	if err := png.Encode(&file, tiny()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(small, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, said := densereward(t, "score", "-threads", "1", "-model", nanoDir, "-prompt", "x", "-grid", "flux", "-out", out, small)
	if code != exitOK {
		t.Fatalf("exit code %d, said %q", code, said)
	}
	header, err := os.ReadFile(filepath.Join(out, "small.dense.npy"))
	if err != nil || !bytes.Contains(header, []byte("'shape': (1, 1)")) {
		t.Errorf("the dense map: %v, %.100q", err, header)
	}
}

// tiny is an image smaller than any preset's cell.
func tiny() image.Image { return image.NewRGBA(image.Rect(0, 0, 7, 5)) }
