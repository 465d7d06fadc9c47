package offline

import (
	"github.com/denseflow/densereward/cmd/densereward/overlay"
	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/engine/image/resize"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/relabel/table"
)

// exampleSide is the longer side of an image on a report's page, in pixels.
const exampleSide = 320

// drawExample is a row's image with its boxes, beside itself under each of its
// heatmaps, as a PNG file; nil for a row without an image that can be read.
func drawExample(row *table.Row) []byte {
	decoded, err := new(image.Decoder).Decode(row.Image())
	if err != nil {
		return nil
	}
	img := (*reward.Image)(decoded)
	if longer := max(img.Width, img.Height); longer > exampleSide {
		img = resize.Resize(img, max(1, img.Width*exampleSide/longer), max(1, img.Height*exampleSide/longer))
	}
	var maps []overlay.Map
	for _, name := range []string{"misalignment", "artifact"} {
		if m, there, err := row.Map(name); err == nil && there && len(m.Data) > 0 {
			maps = append(maps, overlay.Map{Name: name, Map: m})
		}
	}
	boxes, _, err := row.Boxes("boxes")
	if err != nil {
		boxes = nil // other people's columns may have the name
	}
	for _, b := range boxes {
		outline(img, b.Coords)
	}
	file, err := overlay.PNG(img, maps...)
	if err != nil {
		return nil
	}
	return file
}

// outline draws the edges of a box, in thousandths, into an image.
func outline(img *reward.Image, box [4]float64) {
	at := func(v float64, size int) int { return max(0, min(size-1, int(v*float64(size)/1000))) }
	x0, y0, x1, y1 := at(box[0], img.Width), at(box[1], img.Height), at(box[2], img.Width), at(box[3], img.Height)
	paint := func(x, y int) { copy(img.Pix[(y*img.Width+x)*3:], []uint8{255, 64, 64}) }
	for x := x0; x <= x1; x++ {
		paint(x, y0)
		paint(x, y1)
	}
	for y := y0; y <= y1; y++ {
		paint(x0, y)
		paint(x1, y)
	}
}
