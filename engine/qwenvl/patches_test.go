package qwenvl

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/engine/image/codec"
	"github.com/denseflow/densereward/engine/image/resize"
	"github.com/denseflow/densereward/internal/npy"
	"github.com/denseflow/densereward/reward"
)

// patchConfig says how an image becomes the patches of a Qwen2.5-VL vision
// tower; its fields are those of preprocessor_config.json.
type patchConfig struct {
	PatchSize         int        // 14 pixels
	TemporalPatchSize int        // 2: a still image is repeated
	MergeSize         int        // 2: patches are ordered in blocks of 2x2
	Mean, Std         [3]float32 // of R, G, B in [0,1]
}

// defaultPatchConfig is Qwen2.5-VL's, with CLIP's mean and standard deviation.
func defaultPatchConfig() patchConfig {
	return patchConfig{
		PatchSize:         14,
		TemporalPatchSize: 2,
		MergeSize:         2,
		Mean:              [3]float32{0.48145466, 0.4578275, 0.40821073},
		Std:               [3]float32{0.26862954, 0.26130258, 0.27577711},
	}
}

func (p patchConfig) grid(img *reward.Image) (height, width int) {
	return img.Height / p.PatchSize, img.Width / p.PatchSize
}

// values is the number of values of one patch: 3 channels x TemporalPatchSize x
// PatchSize x PatchSize; 1176 by default.
func (p patchConfig) values() int {
	return 3 * p.TemporalPatchSize * p.PatchSize * p.PatchSize
}

// cutPatches writes the patches of img to dst, which is (patches, p.values()),
// (1296,1176) for 504x504. Patches come in merge order: blocks of MergeSize x
// MergeSize row by row, and row by row within a block. The values of one patch
// are (channel, temporal, PatchSize, PatchSize), normalised as the processor
// does it in float32: (v - 255*mean) / (255*std).
//
// It panics if the image's sides are not multiples of PatchSize*MergeSize or
// dst has another length.
func cutPatches(dst []float32, img *reward.Image, p patchConfig) {
	unit := p.PatchSize * p.MergeSize
	rows, cols := p.grid(img)
	if img.Width%unit != 0 || img.Height%unit != 0 || len(dst) != rows*cols*p.values() {
		panic(fmt.Sprintf("patches: %dx%d in units of %d pixels to %d values, want %d",
			img.Width, img.Height, unit, len(dst), rows*cols*p.values()))
	}
	norm := p.normalised()
	n := p.values()
	for by := 0; by < rows; by += p.MergeSize {
		for bx := 0; bx < cols; bx += p.MergeSize {
			for y := by; y < by+p.MergeSize; y++ {
				for x := bx; x < bx+p.MergeSize; x++ {
					p.patch(dst[:n], img, y*p.PatchSize, x*p.PatchSize, norm)
					dst = dst[n:]
				}
			}
		}
	}
}

// patch writes the patch whose top left pixel is (top, left).
func (p patchConfig) patch(dst []float32, img *reward.Image, top, left int, norm *[3][256]float32) {
	size := p.PatchSize
	area := size * size
	channel := p.TemporalPatchSize * area
	red, green, blue := dst[:area], dst[channel:channel+area], dst[2*channel:2*channel+area]
	at := 0
	for y := top; y < top+size; y++ {
		row := img.Pix[(y*img.Width+left)*3:][:size*3]
		for len(row) >= 3 {
			red[at] = norm[0][row[0]]
			green[at] = norm[1][row[1]]
			blue[at] = norm[2][row[2]]
			row = row[3:]
			at++
		}
	}
	for c := range 3 {
		first := dst[c*channel:][:area]
		for t := 1; t < p.TemporalPatchSize; t++ {
			copy(dst[c*channel+t*area:], first)
		}
	}
}

// normalised tabulates the normalised value of each sample. The processor
// scales mean and std by 255 in float32 rather than the sample by 1/255; the
// difference shows in the last bit.
func (p patchConfig) normalised() *[3][256]float32 {
	var norm [3][256]float32
	for c := range norm {
		mean, std := float32(p.Mean[c]*255), float32(p.Std[c]*255)
		for v := range norm[c] {
			norm[c][v] = (float32(v) - mean) / std
		}
	}
	return &norm
}

// readPatches reads some rows of the processor's patches, their numbers, and the
// mean of each value over all rows.
func readPatches(t *testing.T, name string) (values []float32, rows []int64, means []float32) {
	t.Helper()
	file, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	arrays, err := npy.ReadZip(bytes.NewReader(file), int64(len(file)), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if values, err = arrays["pixel_values"].Float32s(); err != nil {
		t.Fatal(err)
	}
	if means, err = arrays["mean"].Float32s(); err != nil {
		t.Fatal(err)
	}
	numbers := arrays["rows"]
	if numbers.Descr != "<i8" {
		t.Fatalf("rows are of type %q", numbers.Descr)
	}
	for i := 0; i+8 <= len(numbers.Data); i += 8 {
		rows = append(rows, int64(binary.LittleEndian.Uint64(numbers.Data[i:])))
	}
	return values, rows, means
}

// photograph is one of package image's test images.
func photograph(t testing.TB, name string) *reward.Image {
	t.Helper()
	file, err := os.ReadFile("../image/testdata/images/" + name + ".png")
	if err != nil {
		t.Fatal(err)
	}
	img, err := image.Decode(file, image.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// TestPatchesAreTheProcessors runs the whole pipeline: Pillow's resize to
// 512x512, torch's to 504x504, patches. Every 37th row must equal what
// transformers 5.17 with torchvision 0.26 gave, bit for bit, and so must the
// mean of each of the 1176 values over all patches but for the summation order.
func TestPatchesAreTheProcessors(t *testing.T) {
	for _, name := range []string{"astronaut", "coffee"} {
		t.Run(name, func(t *testing.T) {
			values, rows, means := readPatches(t, "testdata/patches/"+name+".npz")
			img := resize.ResizeTorch(resize.Resize(photograph(t, name), 512, 512), 504, 504)
			p := defaultPatchConfig()
			got := make([]float32, 1296*1176)
			cutPatches(got, img, p)

			if len(rows) != 36 || len(values) != 36*1176 {
				t.Fatalf("fixture has %d rows and %d values", len(rows), len(values))
			}
			for i, row := range rows {
				for j, v := range values[i*1176 : (i+1)*1176] {
					if g := got[int(row)*1176+j]; g != v {
						t.Fatalf("patch %d value %d is %v, want %v", row, j, g, v)
					}
				}
			}
			for j, m := range means {
				sum := 0.0
				for i := range 1296 {
					sum += float64(got[i*1176+j])
				}
				// The fixture's mean is a float32 sum of 1296 numbers.
				if d := math.Abs(sum/1296 - float64(m)); d > 3e-6 {
					t.Fatalf("mean of value %d is %v, want %v", j, sum/1296, m)
				}
			}
		})
	}
}

func TestPatchesFollowTheConfiguration(t *testing.T) {
	// 4x4 pixels, patches of one pixel, no repetition, merged 2x2.
	img := codec.NewImage(4, 4)
	for i := range 16 {
		img.Pix[3*i] = uint8(i)
	}
	p := patchConfig{PatchSize: 1, TemporalPatchSize: 1, MergeSize: 2, Std: [3]float32{1.0 / 255, 1, 1}}
	got := make([]float32, 16*3)
	cutPatches(got, img, p)
	want := []float32{0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15}
	for i, w := range want {
		if got[3*i] != w {
			t.Errorf("patch %d is pixel %v, want %v", i, got[3*i], w)
		}
	}
}

func TestPatchesRefuseOtherShapes(t *testing.T) {
	p := defaultPatchConfig()
	cases := []struct {
		name   string
		img    *reward.Image
		values int
	}{
		{"a width that is no multiple", codec.NewImage(30, 28), 4 * 1176},
		{"a height of an odd number of patches", codec.NewImage(28, 14), 2 * 1176},
		{"too small a destination", codec.NewImage(28, 28), 4*1176 - 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			cutPatches(make([]float32, c.values), c.img, p)
		})
	}
}
