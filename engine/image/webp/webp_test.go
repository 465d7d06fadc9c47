package webp

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/denseflow/densereward/engine/image/codec"
	"golang.org/x/image/webp"
)

// FuzzDecode: any bytes give a whole image of the size that the header declares, or
// an error; and no image where golang.org/x/image finds none.
func FuzzDecode(f *testing.F) {
	names, err := filepath.Glob("../testdata/files/*.webp")
	if err != nil || len(names) < 10 {
		f.Fatalf("%d files, %v", len(names), err)
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
	limits := codec.Limits{MaxPixels: 1 << 16}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !Sniff(data) {
			return
		}
		width, height, sizeErr := Size(data, limits)
		img, err := Decode(data, limits, codec.NewImage)
		if err != nil {
			return
		}
		if sizeErr != nil || img.Width != width || img.Height != height || len(img.Pix) != width*height*3 {
			t.Errorf("%dx%d with %d bytes; the header says %dx%d, %v", img.Width, img.Height, len(img.Pix), width, height, sizeErr)
		}
		if _, err := webp.Decode(bytes.NewReader(data)); err != nil {
			t.Errorf("decoded, but: %v", err)
		}
	})
}
