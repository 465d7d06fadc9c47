package pixels

import (
	"math"
	"testing"
)

// TestPatchesAreTheProcessors runs the whole pipeline: Pillow's resize to
// 512x512, torch's to 504x504, patches. Every 37th row must equal what
// transformers 5.17 with torchvision 0.26 gave, bit for bit, and so must the
// mean of each of the 1176 values over all patches but for the summation order.
func TestPatchesAreTheProcessors(t *testing.T) {
	for _, name := range []string{"astronaut", "coffee"} {
		t.Run(name, func(t *testing.T) {
			want := readNPZ(t, "images/"+name+"_patches.npz")
			img := ResizeTorch(Resize(readPicture(t, "images/"+name+".png"), 512, 512), 504, 504)
			p := DefaultPatchConfig()
			got := make([]float32, 1296*1176)
			Patches(got, img, p)

			values := want["pixel_values"].float32s(t)
			rows := want["rows"].int64s(t)
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
			for j, m := range want["mean"].float32s(t) {
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
