package vae_test

import (
	"context"
	"math"
	"path/filepath"
	"testing"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/orttest"
	"github.com/denseflow/densereward/engine/vae"
)

var (
	decoders = []string{"vae-sd3-nano", "vae-sd-nano", "vae-tiny-nano"}
	grids    = []string{"8x8", "6x10"}
)

func load(tb testing.TB, name string, o vae.Options) *vae.Decoder {
	tb.Helper()
	o.Runtime, o.Threads = orttest.Open(tb), 1
	d, err := vae.Load(context.Background(), filepath.Join("testdata", name), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := d.Close(); err != nil {
			tb.Error(err)
		}
	})
	return d
}

func TestDecodedValuesAreThoseOfDiffusers(t *testing.T) {
	for _, name := range decoders {
		s, err := vae.ProbeSession(filepath.Join("testdata", name), vae.Options{Runtime: orttest.Open(t), Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		for _, grid := range grids {
			latents, want := array(t, name+"."+grid+".latents"), array(t, name+"."+grid+".decoded")
			out, err := s.Run(context.Background(), []ort.Tensor{{DType: ort.Float32, Shape: wide(latents.Shape), Data: latents.Data}})
			if err != nil {
				t.Fatal(err)
			}
			wanted, _ := want.Float32s()
			low, high := wanted[0], wanted[0]
			var worst float64
			got := out[1].Float32s()
			for i, w := range wanted {
				low, high = min(low, w), max(high, w)
				worst = max(worst, math.Abs(float64(got[i])-float64(w)))
			}
			// 1e-4 of the range: float32 sums in another order.
			if limit := 1e-4 * float64(high-low); worst > limit || len(got) != len(wanted) {
				t.Errorf("%s %s: off by %g, limit %g", name, grid, worst, limit)
			}
			t.Logf("%s %s: off by %.2g of the range", name, grid, worst/float64(high-low))
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestPicturesAreThoseOfDiffusers(t *testing.T) {
	for _, name := range decoders {
		d := load(t, name, vae.Options{})
		for _, grid := range grids {
			latents, want := array(t, name+"."+grid+".latents"), array(t, name+"."+grid+".image")
			images, errs, err := d.Decode(context.Background(), latents, 0, 0)
			if err != nil || errs != nil {
				t.Fatal(err, errs)
			}
			var off, far int
			for i, img := range images {
				if img.Height != want.Shape[1] || img.Width != want.Shape[2] {
					t.Fatalf("%s %s: picture of %dx%d, want %v", name, grid, img.Width, img.Height, want.Shape)
				}
				for k, p := range img.Pix {
					switch d := int(p) - int(want.Data[i*len(img.Pix)+k]); {
					case d > 2 || d < -2:
						far++
					case d > 1 || d < -1:
						off++
					}
				}
			}
			if far > 0 || off*1000 > len(want.Data) {
				t.Errorf("%s %s: %d values more than two levels off, %d of %d more than one", name, grid, far, off, len(want.Data))
			}
		}
	}
}

func wide(shape []int) []int64 {
	s := make([]int64, len(shape))
	for i, d := range shape {
		s[i] = int64(d)
	}
	return s
}
