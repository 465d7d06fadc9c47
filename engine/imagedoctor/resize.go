package imagedoctor

import (
	"fmt"
	"math"

	"github.com/denseflow/densereward/reward"
)

// Resize is a way to bring an image to the model's size.
type Resize string

// The ways. The published scorer squashes images, inference.py keeps their aspect
// and works only where the grid is that of a square.
const (
	// ResizeSquare squashes every image to 512x512.
	ResizeSquare Resize = "square"
	// ResizeArea keeps the aspect at 512x512 pixels of area. Images then differ in
	// their number of tokens, and heatmaps in their size: 16 values a merged patch a side,
	// on the image's own grid. inference.py would arrange any grid as 18x18.
	ResizeArea Resize = "area"
)

func (r Resize) check() error {
	switch r {
	case "", ResizeSquare, ResizeArea:
		return nil
	}
	return fmt.Errorf("options: resize %q is neither %s nor %s", string(r), ResizeSquare, ResizeArea)
}

// resized is the image as the model sees it: brought to 512x512, or to that area,
// and then to whole units, both by Pillow's bicubic. The published scripts hand the
// image to qwen_vl_utils, which does the second step, and leaves nothing to resize to
// the processor.
func (e *Evaluator) resized(image *reward.Image) (*reward.Image, error) {
	width, height := SquareSide, SquareSide
	if e.options.Resize == ResizeArea {
		r := math.Sqrt(SquareSide * SquareSide / float64(image.Width*image.Height))
		width, height = max(1, int(float64(image.Width)*r)), max(1, int(float64(image.Height)*r))
	}
	h, w, err := e.config.SmartResize(height, width)
	if err != nil {
		return nil, reward.ErrInvalidValue.With("image: %v", err)
	}
	return e.resizer.Resize(e.resizer.Resize(image, width, height), w, h), nil
}
