package image

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/denseflow/densereward/engine/image/codec"
)

// Whatever the memory held that a image is decoded to, it must not show.
func TestRecycledMemoryDoesNotShow(t *testing.T) {
	paths, err := filepath.Glob("testdata/files/*")
	if err != nil || len(paths) < 50 {
		t.Fatalf("%d files, error %v", len(paths), err)
	}
	d := new(Decoder)
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want, err := d.Decode(data)
		if err != nil {
			continue // broken on purpose
		}
		for _, dirt := range []uint8{0, 0xaa} {
			used := codec.NewImage(want.Width, want.Height)
			for i := range used.Pix {
				used.Pix[i] = dirt
			}
			d.Recycle(used)
			got, err := d.Decode(data)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			if got.Width != want.Width || got.Height != want.Height || !bytes.Equal(got.Pix, want.Pix) {
				t.Errorf("%s: another image on memory full of %#x", path, dirt)
			}
		}
	}
}

func TestASpareOfAnotherSizeIsUsedOnlyWhereItFits(t *testing.T) {
	for _, tt := range []struct {
		name          string
		width, height int
		fits          bool
	}{
		{"the same", 100, 100, true},
		{"as many pixels in another shape", 50, 200, true},
		{"a little smaller", 100, 60, true},
		{"larger", 101, 100, false},
		{"much smaller, which would hold too much memory", 40, 100, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := &Decoder{}
			old := codec.NewImage(100, 100)
			d.Recycle(old)
			got := d.spare(tt.width, tt.height)
			if len(got.Pix) != tt.width*tt.height*3 || got == old {
				t.Errorf("a image of %d bytes", len(got.Pix))
			}
			// The race detector makes pools forget at random.
			if reused := &got.Pix[0] == &old.Pix[0]; reused && !tt.fits {
				t.Error("was used")
			}
		})
	}
}
