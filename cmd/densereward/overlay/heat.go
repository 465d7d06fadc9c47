package overlay

import (
	"fmt"
	"math"

	"github.com/denseflow/densereward/reward"
)

// magma are nine colours of matplotlib's perceptually uniform map of that name,
// evenly spaced from 0 to 1.
var magma = [...][3]float32{
	{0, 0, 4}, {28, 16, 68}, {79, 18, 123}, {129, 37, 129}, {181, 54, 122},
	{229, 80, 100}, {251, 135, 97}, {254, 194, 135}, {252, 253, 191},
}

// How the overlay looks.
const (
	overlayFloor   = 0.05 // values below leave the image alone
	overlayStart   = 0.35 // place in magma of the floor; below it is nearly black
	overlayOpacity = 0.75 // of the colour of a value of 1
	overlayMute    = 0.75 // share of gray in the image, for the colours to stand out
	overlayDim     = 0.85 // brightness of the image
)

// heatOver draws a heatmap over an image, for a person to look at. heat is
// (hh,hw), row major, in [0,1], and covers the whole image; it is interpolated
// bilinearly. Values outside [0,1] are clamped, a NaN counts as 0. The image is
// muted; the heatmap's colours go from violet to pale yellow and from
// transparent to mostly opaque. img is not changed. It panics if heat has
// another length than hh*hw.
func heatOver(img *reward.Image, heat []float32, hh, hw int) *reward.Image {
	if hh < 1 || hw < 1 || len(heat) != hh*hw {
		panic(fmt.Sprintf("overlay: a heatmap of %dx%d with %d values", hh, hw, len(heat)))
	}
	dst := &reward.Image{Width: img.Width, Height: img.Height, Pix: make([]uint8, len(img.Pix))}
	columns := bilinear(hw, img.Width)
	rows := bilinear(hh, img.Height)
	for y, r := range rows {
		for x, c := range columns {
			top := blend(heatAt(heat[r.low*hw+c.low]), heatAt(heat[r.low*hw+c.high]), c.share)
			bottom := blend(heatAt(heat[r.high*hw+c.low]), heatAt(heat[r.high*hw+c.high]), c.share)
			at := (y*img.Width + x) * 3
			paint(dst.Pix[at:at+3:at+3], img.Pix[at:at+3:at+3], blend(top, bottom, r.share))
		}
	}
	return dst
}

// heatAt limits v to [0,1].
func heatAt(v float32) float32 {
	if v > 0 { // false for a NaN
		return min(v, 1)
	}
	return 0
}

func blend(a, b, share float32) float32 { return a + (b-a)*share }

// paint writes the pixel in with the colour of v over it to out.
func paint(out, in []uint8, v float32) {
	gray := 0.299*float32(in[0]) + 0.587*float32(in[1]) + 0.114*float32(in[2])
	strength := max(0, (v-overlayFloor)/(1-overlayFloor))
	color := magmaAt(overlayStart + (1-overlayStart)*strength)
	// A parabola: weak flaws show, strong ones leave the image visible.
	opacity := overlayOpacity * strength * (2 - strength)
	for c := range out {
		under := overlayDim * blend(float32(in[c]), gray, overlayMute)
		out[c] = uint8(math.RoundToEven(float64(blend(under, color[c], opacity))))
	}
}

// magmaAt is the colour of v in [0,1].
func magmaAt(v float32) [3]float32 {
	place := v * float32(len(magma)-1)
	i := min(int(place), len(magma)-2)
	var color [3]float32
	for c := range color {
		color[c] = blend(magma[i][c], magma[i+1][c], place-float32(i))
	}
	return color
}

// between is a place among samples: share of the way from low to high.
type between struct {
	low, high int
	share     float32
}

// bilinear gives the places of out pixels among in samples that cover the same
// length.
func bilinear(in, out int) []between {
	places := make([]between, out)
	for i := range places {
		at := (float32(i)+0.5)*float32(in)/float32(out) - 0.5
		at = min(max(at, 0), float32(in-1))
		low := int(at)
		places[i] = between{low, min(low+1, in-1), at - float32(low)}
	}
	return places
}
