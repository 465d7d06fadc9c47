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

func TestAGridHoldsRowsOfDifferentLengthsAndImagesOfAnyShape(t *testing.T) {
	cell := func(width, height int) Cell {
		image := &reward.Image{Width: width, Height: height, Pix: make([]uint8, 3*width*height)}
		return Cell{image, reward.Map{Height: 2, Width: 2, Data: []float32{0, 0.25, 0.5, 1}}, "a label"}
	}
	file, err := Grid([]Row{
		{"one image", []Cell{cell(512, 512)}},
		{"two images", []Cell{cell(3000, 10), cell(1, 7)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	image, err := png.Decode(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	if w, h := image.Bounds().Dx(), image.Bounds().Dy(); w < 4*gridSide || h < 2*gridSide {
		t.Errorf("a grid of %dx%d pixels", w, h)
	}
	if r, _, _, _ := image.At(gridGap, 2*gridTitle).RGBA(); r != 0 {
		t.Errorf("the first image's first pixel is %d, not black", r)
	}
}
