package image

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// addFiles seeds a fuzz target with the small files of testdata/files whose
// names match.
func addFiles(f *testing.F, pattern string) {
	f.Helper()
	names, err := filepath.Glob("testdata/files/" + pattern)
	if err != nil || len(names) == 0 {
		f.Fatalf("no seeds match %s: %v", pattern, err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		if len(data) < 10_000 {
			f.Add(data)
		}
	}
}

// fuzzLimits keep an iteration short.
var fuzzLimits = Limits{MaxPixels: 1 << 16}

// FuzzDecode: any bytes give a whole image within the limits or an error, and
// no decoder panics, though Decode would contain it.
func FuzzDecode(f *testing.F) {
	addFiles(f, "*.*g")
	addFiles(f, "*.webp")
	f.Add(pngHeader(60000, 60000))
	f.Add(jpegHeader(60000, 60000, 0xc2))
	d := &Decoder{limits: fuzzLimits}
	f.Fuzz(func(t *testing.T, data []byte) {
		img, err := d.Decode(data)
		if err != nil {
			if img != nil {
				t.Error("a image with an error")
			}
			if strings.Contains(err.Error(), "panicked") {
				t.Error(err)
			}
			return
		}
		if err := fuzzLimits.Check(img.Width, img.Height); err != nil {
			t.Error(err)
		}
		if len(img.Pix) != img.Width*img.Height*3 {
			t.Errorf("%d bytes for %dx%d", len(img.Pix), img.Width, img.Height)
		}
	})
}

// FuzzTensor: any tensor gives a whole image or an error.
func FuzzTensor(f *testing.F) {
	f.Add(uint8(Uint8), uint8(HWC), 1, 2, make([]byte, 6))
	f.Add(uint8(Float32), uint8(CHW), 2, 1, make([]byte, 24))
	f.Add(uint8(Float16), uint8(HWC), 1, 1, halfData(0x3c00, 0x7c00, 0))
	f.Add(uint8(BFloat16), uint8(CHW), 1<<62, 1<<62, []byte{})
	f.Fuzz(func(t *testing.T, dtype, layout uint8, height, width int, data []byte) {
		img, err := FromTensor(Tensor{DType(dtype), Layout(layout), height, width, data}, fuzzLimits, true)
		if err == nil && len(img.Pix) != width*height*3 {
			t.Errorf("%d bytes for %dx%d", len(img.Pix), width, height)
		}
	})
}
