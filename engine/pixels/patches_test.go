package pixels

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"github.com/denseflow/densereward/internal/npy"
)

// readPatches reads some rows of the processor's patches, their numbers, and the
// mean of each value over all rows.
func readPatches(t *testing.T, name string) (values []float32, rows []int64, means []float32) {
	t.Helper()
	file := readFile(t, name)
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

// TestPatchesAreTheProcessors runs the whole pipeline: Pillow's resize to
// 512x512, torch's to 504x504, patches. Every 37th row must equal what
// transformers 5.17 with torchvision 0.26 gave, bit for bit, and so must the
// mean of each of the 1176 values over all patches but for the summation order.
func TestPatchesAreTheProcessors(t *testing.T) {
	for _, name := range []string{"astronaut", "coffee"} {
		t.Run(name, func(t *testing.T) {
			values, rows, means := readPatches(t, "images/"+name+"_patches.npz")
			img := ResizeTorch(Resize(readPicture(t, "images/"+name+".png"), 512, 512), 504, 504)
			p := DefaultPatchConfig()
			got := make([]float32, 1296*1176)
			Patches(got, img, p)

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
	img := NewRGB(4, 4)
	for i := range 16 {
		img.Pix[3*i] = uint8(i)
	}
	p := PatchConfig{PatchSize: 1, TemporalPatchSize: 1, MergeSize: 2, Std: [3]float32{1.0 / 255, 1, 1}}
	got := make([]float32, 16*3)
	Patches(got, img, p)
	want := []float32{0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15}
	for i, w := range want {
		if got[3*i] != w {
			t.Errorf("patch %d is pixel %v, want %v", i, got[3*i], w)
		}
	}
}

func TestPatchesRefuseOtherShapes(t *testing.T) {
	p := DefaultPatchConfig()
	cases := []struct {
		name   string
		img    *RGB
		values int
	}{
		{"a width that is no multiple", NewRGB(30, 28), 4 * 1176},
		{"a height of an odd number of patches", NewRGB(28, 14), 2 * 1176},
		{"too small a destination", NewRGB(28, 28), 4*1176 - 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			Patches(make([]float32, c.values), c.img, p)
		})
	}
}

// TestSmartResize holds values of transformers' smart_resize.
func TestSmartResize(t *testing.T) {
	cases := []struct {
		name                  string
		height, width, lo, hi int
		wantHeight, wantWidth int
		wantErr               error
	}{
		{"the reference's square", 512, 512, 3136, 12845056, 504, 504, nil},
		{"half a unit goes to even", 42, 70, 0, 1 << 30, 56, 56, nil},
		{"too few pixels grow", 20, 30, 3136, 12845056, 56, 84, nil},
		{"too many pixels shrink", 4000, 6000, 3136, 1003520, 812, 1204, nil},
		{"a long strip", 100, 20000, 3136, 12845056, 112, 19992, nil},
		{"too long a strip", 100, 20001, 3136, 12845056, 0, 0, ErrAspect},
		{"no height", 0, 5, 3136, 12845056, 0, 0, ErrShape},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h, w, err := SmartResize(c.height, c.width, 28, c.lo, c.hi)
			if h != c.wantHeight || w != c.wantWidth || !errors.Is(err, c.wantErr) {
				t.Errorf("got %d, %d, %v; want %d, %d, %v", h, w, err, c.wantHeight, c.wantWidth, c.wantErr)
			}
		})
	}
}
