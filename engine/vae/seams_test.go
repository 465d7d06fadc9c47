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
	// Two tiles side by side, two above each other.
	sizes := [][2]int{{8, 48}, {48, 8}}
	for _, name := range decoders {
		whole, tiled := load(t, name, vae.Options{}), load(t, name, vae.Options{RunPixels: 1}) // the smallest that there are
		mine := sizes
		if name == "vae-sd3-nano" || name == "vae-tiny-nano" { // which sees farthest
			mine = [][2]int{{36, 48}} // four that meet
		}
		for _, size := range mine {
			latents := noise(whole.Describe().Channels, size[0], size[1])
			agree(t, name, decodeAll(t, tiled, latents)[0], decodeAll(t, whole, latents)[0])
		}
	}
}

// agree holds an image of tiles against the whole.
func agree(t *testing.T, name string, got, want *reward.Image) {
	t.Helper()
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
	t.Logf("%s, %dx%d: tiles are off by %.3f levels on average, %d at most", name, want.Width, want.Height, mean, worst)
	if mean > 0.5 {
		t.Errorf("%s, %dx%d: tiles are off by %.3f levels on average, limit 0.5", name, want.Width, want.Height, mean)
	}
}
