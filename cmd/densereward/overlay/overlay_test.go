package overlay

import (
	"bytes"
	"image/png"
	"testing"

	"github.com/denseflow/densereward/reward"
)

func TestAnOverlayFitsAScreen(t *testing.T) {
	flat := reward.Map{Height: 2, Width: 2, Data: []float32{0, 0.25, 0.5, 1}}
	for name, c := range map[string]struct {
		width, height         int
		wantWidth, wantHeight int // of a panel
	}{
		"a small image keeps its size":       {320, 200, 320, 200},
		"a large one is shrunk":              {3072, 1536, 768, 384},
		"a tall one is shrunk by its height": {10, 7680, 1, 768},
	} {
		t.Run(name, func(t *testing.T) {
			image := &reward.Image{Width: c.width, Height: c.height, Pix: make([]uint8, 3*c.width*c.height)}
			file, err := PNG(image, Map{"misalignment", flat}, Map{"artifact", flat})
			if err != nil {
				t.Fatal(err)
			}
			config, err := png.DecodeConfig(bytes.NewReader(file))
			if err != nil {
				t.Fatal(err)
			}
			letter := max(minLetter, c.wantWidth/panelText)
			if want := c.wantHeight + 3*letter; config.Height != want {
				t.Errorf("%d pixels high, want %d", config.Height, want)
			}
			if least := 3*c.wantWidth + 4*letter; config.Width < least {
				t.Errorf("%d pixels wide, want at least %d", config.Width, least)
			}
		})
	}
}
