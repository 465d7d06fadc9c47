package vae_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/orttest"
	"github.com/denseflow/densereward/engine/vae"
	"github.com/denseflow/densereward/reward"
)

// decoders are those of testdata: of each class, in each of its forms.
var decoders = []string{
	"vae-sd3-nano", "vae-sd-nano", "vae-tiny-nano", "flux2-nano", "qwenimage-nano", "qwenimage21-nano",
	"wan21-nano", "wan22-nano", "dc-nano", "dc10-nano",
}

func load(tb testing.TB, name string, o vae.Options) *vae.Decoder {
	tb.Helper()
	o.Runtime, o.Threads = orttest.Open(tb), 1
	d, err := vae.Load(context.Background(), filepath.Join(casesDir(), name), o)
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
		s, err := vae.ProbeSession(filepath.Join(casesDir(), name), vae.Options{Runtime: orttest.Open(t), Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		for _, grid := range grids(t, name) {
			latents, want := array(t, name+"."+grid+".latents"), array(t, name+"."+grid+".decoded")
			out, err := s.Run(context.Background(), []ort.Tensor{{DType: ort.Float32, Shape: wide(latents.Shape), Data: latents.Data}})
			if err != nil {
				t.Fatal(err)
			}
			z, _ := array(t, name+"."+grid+".z").Float32s()
			// FLUX.2's deviations are roots, and torch's vectors of them are not
			// rounded to the nearest number on every processor.
			if off := farthest(out[3].Float32s(), z); off > 0 && (name != "flux2-nano" || off > 1e-6) {
				t.Errorf("%s %s: what the decoder takes is off by %g from what the pipeline gives it", name, grid, off)
			}
			wanted, _ := want.Float32s()
			worst, span := farthest(out[2].Float32s(), wanted), float64(slices.Max(wanted)-slices.Min(wanted))
			// 1e-4 of the range: float32 sums in another order.
			if limit := 1e-4 * span; !(worst <= limit) {
				t.Errorf("%s %s: off by %g, limit %g", name, grid, worst, limit)
			}
			t.Logf("%s %s: off by %.2g of the range", name, grid, worst/span)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestImagesAreThoseOfDiffusers(t *testing.T) {
	for _, name := range decoders {
		d := load(t, name, vae.Options{})
		for _, grid := range grids(t, name) {
			latents, want := array(t, name+"."+grid+".latents"), array(t, name+"."+grid+".image")
			off := 0
			for i, img := range decodeAll(t, d, latents) {
				if img.Height != want.Shape[1] || img.Width != want.Shape[2] {
					t.Fatalf("%s %s: image of %dx%d, want %v", name, grid, img.Width, img.Height, want.Shape)
				}
				for k, p := range img.Pix {
					if d := int(p) - int(want.Data[i*len(img.Pix)+k]); d > 1 || d < -1 {
						off++
					}
				}
			}
			if off*1000 > len(want.Data) {
				t.Errorf("%s %s: %d of %d values more than one level off", name, grid, off, len(want.Data))
			}
		}
	}
}

func TestTokensOfAPipelineDecodeAsItsLatents(t *testing.T) {
	for _, name := range []string{"flux2-nano", "qwenimage-nano", "qwenimage21-nano"} {
		d := load(t, name, vae.Options{})
		packed := 0
		for _, grid := range grids(t, name) {
			if !has(t, name+"."+grid+".tokens") {
				continue // the pipeline packs even sizes alone
			}
			packed++
			latents, tokens := array(t, name+"."+grid+".latents"), array(t, name+"."+grid+".tokens")
			cells := latents.Shape[2] * latents.Shape[3]
			side := int(math.Sqrt(float64(cells / tokens.Shape[1])))
			height, width := latents.Shape[2]/side, latents.Shape[3]/side
			layout, err := d.Layout(tokens.Shape, height, width)
			if err != nil || layout.GridHeight != height || layout.GridWidth != width {
				t.Errorf("%s %s: layout %+v, %v, want a grid of %dx%d", name, grid, layout, err, height, width)
			}
			got, errs, err := d.Decode(context.Background(), tokens, height, width)
			if err != nil || errs != nil {
				t.Fatal(err, errs)
			}
			for i, img := range decodeAll(t, d, latents) {
				if !bytes.Equal(got[i].Pix, img.Pix) {
					t.Errorf("%s %s: image %d of tokens is not that of the latents", name, grid, i)
				}
			}
		}
		if packed == 0 {
			t.Errorf("%s: no tokens", name)
		}
	}
}

func TestAFrameIsAnImage(t *testing.T) {
	for _, name := range []string{"qwenimage-nano", "wan22-nano", "vae-sd3-nano"} {
		d := load(t, name, vae.Options{})
		latents := *array(t, name+"."+grids(t, name)[0]+".latents")
		want := decodeAll(t, d, &latents)
		n, c, h, w := latents.Shape[0], latents.Shape[1], latents.Shape[2], latents.Shape[3]
		latents.Shape = []int{n, c, 1, h, w}
		for i, img := range decodeAll(t, d, &latents) {
			if !bytes.Equal(img.Pix, want[i].Pix) {
				t.Errorf("%s: image %d of (N,C,1,h,w) differs", name, i)
			}
		}
		latents.Shape = []int{n, c, h, 1, w}
		if _, err := d.Layout(latents.Shape, 0, 0); h > 1 && !errors.Is(err, reward.ErrInvalidValue) {
			t.Errorf("%s: %d frames: %v", name, h, err)
		}
	}
}

// farthest is the largest difference of two lists of numbers.
func farthest(a, b []float32) float64 {
	if len(a) != len(b) {
		return math.Inf(1)
	}
	var worst float64
	for i := range a {
		worst = max(worst, math.Abs(float64(a[i])-float64(b[i])))
	}
	return worst
}

func wide(shape []int) []int64 {
	s := make([]int64, len(shape))
	for i, d := range shape {
		s[i] = int64(d)
	}
	return s
}
