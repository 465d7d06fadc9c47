package offline

import (
	"math"

	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/engine/image/png"
	"github.com/denseflow/densereward/engine/image/resize"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/metrics/report"
	"github.com/denseflow/densereward/reward/relabel"
	"github.com/denseflow/densereward/reward/relabel/table"
)

// exampleSide is the longer side of an image on a report's page, in pixels.
const exampleSide = 320

// drawExample is a row's image with its heatmaps and boxes; nil for a row without an
// image that can be read.
func drawExample(row *table.Row, prefix string, find func(string) ([]byte, error)) *report.Image {
	decoded, err := new(image.Decoder).Decode(row.Image(find))
	if err != nil {
		return nil
	}
	img := (*reward.Image)(decoded)
	if longer := max(img.Width, img.Height); longer > exampleSide {
		img = resize.Resize(img, max(1, img.Width*exampleSide/longer), max(1, img.Height*exampleSide/longer))
	}
	file, err := png.Encode(img)
	if err != nil {
		return nil
	}
	p := &report.Image{File: file}
	for _, name := range []string{"misalignment", "artifact"} {
		if m, there, err := row.Map(prefix + name); err == nil && there && len(m.Data) > 0 {
			p.Maps = append(p.Maps, imageMap(name, m))
		}
	}
	boxes, _, err := row.Boxes(prefix + relabel.ColumnBoxes)
	if err != nil {
		boxes = nil // other people's columns may have the name
	}
	for _, b := range boxes {
		p.Boxes = append(p.Boxes, report.ImageBox{Box: b.Coords, Label: b.Label, Importance: b.Importance})
	}
	return p
}

// imageMap rounds a map to bytes.
func imageMap(name string, m reward.Map) report.ImageMap {
	p := report.ImageMap{Name: name, Height: m.Height, Width: m.Width, Data: make([]byte, len(m.Data))}
	for i, v := range m.Data {
		p.Data[i] = uint8(math.Round(255 * float64(min(max(v, 0), 1))))
	}
	return p
}
