package main

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/denseflow/densereward/cmd/densereward/demo"
	"github.com/denseflow/densereward/internal/npy"
	"github.com/denseflow/densereward/internal/numtest"
)

// vaeDir holds small decoders and what the reference decodes with them.
const vaeDir = "../../engine/vae/testdata"

// vaeArray is an array of the decoders' cases.
func vaeArray(t *testing.T, name string) npy.Array {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(vaeDir, "cases.npz"))
	if err != nil {
		t.Fatal(err)
	}
	arrays, err := npy.ReadZip(bytes.NewReader(data), int64(len(data)), 1<<24)
	if err != nil {
		t.Fatal(err)
	}
	a, ok := arrays[name]
	if !ok {
		t.Fatalf("no case %s", name)
	}
	return a
}

// writeLatents writes samples of a case as a file of latents.
func writeLatents(t *testing.T, path, name string, samples int) {
	t.Helper()
	a := vaeArray(t, name)
	values, err := a.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	shape := slices.Clone(a.Shape)
	values = values[:len(values)/shape[0]*samples]
	shape[0] = samples
	create(t, path, func(w io.Writer) error { return npy.WriteFloat32(w, values, shape...) })
}

// writeImage writes image i of a case, (N,h,w,3) uint8, as a PNG file.
func writeImage(t *testing.T, path, name string, i int) {
	t.Helper()
	a := vaeArray(t, name)
	h, w := a.Shape[1], a.Shape[2]
	pix := a.Data[i*h*w*3:]
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for p := range h * w {
		img.SetNRGBA(p%w, p/w, color.NRGBA{pix[3*p], pix[3*p+1], pix[3*p+2], 255})
	}
	create(t, path, func(w io.Writer) error { return png.Encode(w, img) })
}

func create(t *testing.T, path string, write func(io.Writer) error) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := write(file); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestLatentsAreScoredAsTheirImagesAre(t *testing.T) {
	dir := t.TempDir()
	latents, maps := filepath.Join(dir, "z.npy"), filepath.Join(dir, "maps")
	writeLatents(t, latents, "vae-sd3-nano.6x10.latents", 2)
	images := []string{filepath.Join(dir, "0.png"), filepath.Join(dir, "1.png")}
	for i, path := range images {
		writeImage(t, path, "vae-sd3-nano.6x10.image", i)
	}
	ask := []string{"score", "-threads", "1", "-model", smallDir, "-prompt", demo.Prompts()[0], "-vae", filepath.Join(vaeDir, "vae-sd3-nano"), "-out", maps}
	code, out, said := densereward(t, append(ask, append(images, latents)...)...)
	if code != exitOK || said != "" {
		t.Fatalf("exit code %d, said %q", code, said)
	}
	got := lines[record](t, out)
	if len(got) != 4 || got[2].Image != latents+"[0]" || got[3].Image != latents+"[1]" {
		t.Fatalf("lines\n%s", out)
	}
	for i := range images {
		if got[i].Text != got[2+i].Text || got[i].Reward != got[2+i].Reward {
			t.Errorf("sample %d: latents %q, image %q", i, got[2+i].Text, got[i].Text)
		}
	}
	// The latents' own grid, and the same flaws as in the image of 80x48.
	for i, name := range []string{"z-0", "z-1"} {
		readArray(t, filepath.Join(maps, name+".dense.npy"), 6, 10)
		// One level of a pixel apart at most.
		tolerance := numtest.Tolerance{Abs: 5e-2}
		numtest.Slice(t, name, readArray(t, filepath.Join(maps, name+".artifact.npy"), 80, 80),
			readArray(t, filepath.Join(maps, string(rune('0'+i))+".artifact.npy"), 80, 80), tolerance)
	}
}

func TestPackedTokensLieOnTheGridOfTheFlag(t *testing.T) {
	dir := t.TempDir()
	latents, maps := filepath.Join(dir, "z.npy"), filepath.Join(dir, "maps")
	writeLatents(t, latents, "pack.tokens", 1)
	code, out, said := densereward(t, "score", "-threads", "1", "-model", smallDir, "-prompt", "x", "-grid", "4x6",
		"-vae", filepath.Join(vaeDir, "vae-sd3-nano"), "-out", maps, latents)
	if code != exitOK {
		t.Fatalf("exit code %d, said %q", code, said)
	}
	if got := lines[record](t, out); len(got) != 1 || got[0].Image != latents {
		t.Errorf("lines\n%s", out)
	}
	readArray(t, filepath.Join(maps, "z.dense.npy"), 4, 6)
}

func TestLatentsThatCannotBeDecodedCostTheOthersNothing(t *testing.T) {
	dir := t.TempDir()
	other, packed, text := filepath.Join(dir, "other.npy"), filepath.Join(dir, "packed.npy"), filepath.Join(dir, "text.safetensors")
	writeLatents(t, other, "vae-sd-nano.8x8.latents", 2)
	writeLatents(t, packed, "pack.tokens", 2) // 24 tokens are no square, and no grid is named
	if err := os.WriteFile(text, []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}
	ask := []string{"score", "-threads", "1", "-model", smallDir, "-prompt", demo.Prompts()[0]}
	files := []string{other, packed, text, demoImages()[0]}
	for name, flags := range map[string][]string{
		"with a decoder":    {"-vae", filepath.Join(vaeDir, "vae-sd3-nano")},
		"without a decoder": nil,
	} {
		t.Run(name, func(t *testing.T) {
			code, out, _ := densereward(t, append(append(slices.Clone(ask), flags...), files...)...)
			if code != exitPartial || bytes.Count([]byte(out), []byte(`"error"`)) != 3 || bytes.Count([]byte(out), []byte(`"reward"`)) != 1 {
				t.Errorf("exit code %d, output\n%s", code, out)
			}
		})
	}
	code, _, said := densereward(t, append(ask, "-vae", dir, demoImages()[0])...)
	if code != exitFailure || said == "" {
		t.Errorf("a folder without a decoder: exit code %d, said %q", code, said)
	}
}
