package overlay

import (
	"bytes"
	"math"
	"testing"

	"github.com/denseflow/densereward/reward"
)

// redAbove is the brightness of the colour that the heatmap adds at (x, y): red
// minus what an image without heat has there.
func redAbove(over, plain *reward.Image, x, y int) int {
	at := (y*over.Width + x) * 3
	return int(over.Pix[at]) - int(plain.Pix[at])
}

func TestOverlayPutsHeatWhereTheHeatmapHasIt(t *testing.T) {
	img := blackImage(90, 60) // black, so that heat only adds
	before := bytes.Clone(img.Pix)
	heat := []float32{0, 0, 1, 0, 0, 0} // (2,3): top right
	over := heatOver(img, heat, 2, 3)
	plain := heatOver(img, make([]float32, 6), 2, 3)
	if !bytes.Equal(img.Pix, before) {
		t.Error("the image changed")
	}
	if over.Width != 90 || over.Height != 60 || len(over.Pix) != len(img.Pix) {
		t.Fatalf("overlay is %dx%d", over.Width, over.Height)
	}
	if hot := redAbove(over, plain, 80, 10); hot < 100 {
		t.Errorf("the hot cell is %d above black", hot)
	}
	for _, cold := range [][2]int{{10, 10}, {40, 50}, {10, 50}} {
		if d := redAbove(over, plain, cold[0], cold[1]); d != 0 {
			t.Errorf("%v is %d above black", cold, d)
		}
	}
	// Between the cells' centres the heat fades.
	if a, b, c := redAbove(over, plain, 75, 15), redAbove(over, plain, 65, 15), redAbove(over, plain, 55, 15); a <= b || b <= c {
		t.Errorf("heat along a row is %d, %d, %d", a, b, c)
	}
}

func TestOverlayTakesAnyValue(t *testing.T) {
	img := blackImage(4, 4)
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	cases := []struct {
		name  string
		value float32
		like  float32
	}{
		{"a NaN counts as zero", nan, 0},
		{"below zero is zero", -3, 0},
		{"above one is one", 7, 1},
		{"infinity is one", inf, 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, want := heatOver(img, []float32{c.value}, 1, 1), heatOver(img, []float32{c.like}, 1, 1)
			if !bytes.Equal(got.Pix, want.Pix) {
				t.Errorf("got %v, want %v", got.Pix[:3], want.Pix[:3])
			}
		})
	}
}

func TestOverlayWithoutHeatIsTheMutedImage(t *testing.T) {
	img := &reward.Image{Width: 1, Height: 1, Pix: []uint8{200, 100, 0}}
	over := heatOver(img, []float32{0.04}, 1, 1)
	r, g, b := over.Pix[0], over.Pix[1], over.Pix[2]
	if !(r > g && g > b) || r > 200 || b == 0 {
		t.Errorf("got %v", over.Pix)
	}
}

func blackImage(width, height int) *reward.Image {
	return &reward.Image{Width: width, Height: height, Pix: make([]uint8, 3*width*height)}
}

func BenchmarkHeatOver(b *testing.B) {
	img := blackImage(512, 512)
	heat := make([]float32, 288*288)
	for i := range heat {
		heat[i] = float32(i%289) / 288
	}
	b.ReportAllocs()
	for b.Loop() {
		heatOver(img, heat, 288, 288)
	}
}
