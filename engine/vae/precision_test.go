package vae_test

import (
	"testing"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/orttest"
	"github.com/denseflow/densereward/engine/vae"
	"github.com/denseflow/densereward/reward"
)

// apart is how far two images are from each other: the mean difference in
// levels and the share of values more than two levels apart.
func apart(a, b *reward.Image) (mean, far float64) {
	var sum, count int
	for i, p := range a.Pix {
		d := int(p) - int(b.Pix[i])
		sum += max(d, -d)
		if d > 2 || d < -2 {
			count++
		}
	}
	return float64(sum) / float64(len(a.Pix)), float64(count) / float64(len(a.Pix))
}

// agrees compares a decoder's images with diffusers'.
func agrees(t *testing.T, d *vae.Decoder, name, what string, mean, far float64) {
	t.Helper()
	for _, grid := range grids(t, name) {
		want := array(t, name+"."+grid+".image")
		for i, img := range decodeAll(t, d, array(t, name+"."+grid+".latents")) {
			n := len(img.Pix)
			m, f := apart(img, &reward.Image{Pix: want.Data[i*n : (i+1)*n]})
			if m > mean || f > far {
				t.Errorf("%s %s, %s: %.3f levels off on average, %.2f%% more than two", name, grid, what, m, 100*f)
			}
		}
	}
}

func TestHalfPrecisionIsNearlyTheSameImage(t *testing.T) {
	for _, name := range decoders {
		// Halves have 11 bits: an activation near 4, the largest here, is known
		// to 1/512, a quarter of a level of the image's 2/255, and a dozen
		// layers add up.
		agrees(t, load(t, name, vae.Options{Precision: vae.Float16}), name, "float16 on a CPU", 1, 0.02)
	}
}

func TestAGPUDecodesTheSameImages(t *testing.T) {
	p := orttest.CUDA(t)[0]
	exact := ort.Provider{Kind: p.Kind, Device: p.Device, Options: map[string]string{"use_tf32": "0"}}
	for _, name := range decoders {
		agrees(t, load(t, name, vae.Options{Provider: exact}), name, "float32", 0.01, 0)
		agrees(t, load(t, name, vae.Options{Provider: p, Precision: vae.Float16}), name, "float16", 1, 0.02)
		agrees(t, load(t, name, vae.Options{Provider: exact, ChannelsFirst: true}), name, "float32, channels first", 0.01, 0)
		agrees(t, load(t, name, vae.Options{Provider: p, ChannelsFirst: true, Precision: vae.Float16}), name, "float16, channels first", 1, 0.02)
	}
}
