package vae_test

import (
	"math/rand/v2"
	"testing"

	"github.com/denseflow/densereward/engine/vae"
	"github.com/denseflow/densereward/reward"
)

// noise is one image's latents of standard normal numbers.
func noise(channels, height, width int) *reward.Tensor {
	random := rand.New(rand.NewPCG(1, 2))
	values := make([]float32, channels*height*width)
	for i := range values {
		values[i] = float32(random.NormFloat64())
	}
	return reward.Float32Tensor(values, 1, channels, height, width)
}

func TestTilesAgreeWithTheWhole(t *testing.T) {
	for _, name := range decoders {
		whole, tiled := load(t, name, vae.Options{}), load(t, name, vae.Options{RunPixels: 1}) // the smallest that there are
		latents := noise(whole.Describe().Channels, 36, 48)
		want, got := decodeAll(t, whole, latents)[0], decodeAll(t, tiled, latents)[0]
		if got.Width != want.Width || got.Height != want.Height {
			t.Fatalf("%s: tiles make an image of %dx%d, the whole is %dx%d", name, got.Width, got.Height, want.Width, want.Height)
		}
		var sum, worst int
		for i, p := range want.Pix {
			d := int(p) - int(got.Pix[i])
			sum += max(d, -d)
			worst = max(worst, d, -d)
		}
		mean := float64(sum) / float64(len(want.Pix))
		t.Logf("%s: tiles are off by %.3f levels on average, %d at most", name, mean, worst)
		if mean > 0.5 {
			t.Errorf("%s: tiles are off by %.3f levels on average, limit 0.5", name, mean)
		}
	}
}
