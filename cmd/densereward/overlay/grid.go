package overlay

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"

	"github.com/denseflow/densereward/engine/image/resize"
	"github.com/denseflow/densereward/reward"
	"golang.org/x/image/font"
	"golang.org/x/image/math/fixed"
)

// How a grid looks, in pixels.
const (
	gridSide   = 128 // the longer side of an image
	gridGap    = 14  // between cells
	gridLetter = 15  // height of a label's letters
	gridTitle  = 18  // of a row's title
)

// Row is a row of a grid: a group of images and what they have in common.
type Row struct {
	Title string
	Cells []Cell
}

// Cell is an image, its map and a line under both.
type Cell struct {
	Image *reward.Image
	Map   reward.Map
	Label string
}

// Grid makes a PNG file that compares groups of images: each image beside itself
// under its map.
func Grid(rows []Row) ([]byte, error) {
	title, err := newFace(gridTitle)
	if err != nil {
		return nil, fmt.Errorf("overlay: %w", err)
	}
	label, err := newFace(gridLetter)
	if err != nil {
		return nil, fmt.Errorf("overlay: %w", err)
	}
	columns := 0
	for _, row := range rows {
		columns = max(columns, len(row.Cells))
	}
	const width, height = 2*gridSide + gridGap, gridSide + 2*gridLetter
	const rowHeight = 2*gridTitle + height
	canvas := image.NewRGBA(image.Rect(0, 0, columns*width+gridGap, len(rows)*rowHeight+gridGap/2))
	draw.Draw(canvas, canvas.Bounds(), image.White, image.Point{}, draw.Src)
	write := func(face font.Face, gray uint8, x, y int, text string) {
		d := font.Drawer{Dst: canvas, Src: image.NewUniform(color.Gray{gray}), Face: face, Dot: fixed.P(x, y)}
		d.DrawString(text)
	}
	for r, row := range rows {
		top := r * rowHeight
		write(title, 0, gridGap, top+gridTitle*3/2, row.Title)
		for c, cell := range row.Cells {
			left := gridGap + c*width
			small := thumbnail(cell.Image)
			paste(canvas, small, left, top+2*gridTitle)
			paste(canvas, heatOver(small, cell.Map.Data, cell.Map.Height, cell.Map.Width), left+gridSide, top+2*gridTitle)
			write(label, 40, left, top+2*gridTitle+gridSide+gridLetter+2, cell.Label)
		}
	}
	var file bytes.Buffer
	if err := png.Encode(&file, canvas); err != nil {
		return nil, fmt.Errorf("overlay: %w", err)
	}
	return file.Bytes(), nil
}

// thumbnail is an image of a grid's size.
func thumbnail(img *reward.Image) *reward.Image {
	longer := max(img.Width, img.Height)
	return resize.Resize(img, max(1, img.Width*gridSide/longer), max(1, img.Height*gridSide/longer))
}
