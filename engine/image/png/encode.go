package png

import (
	"bytes"
	"fmt"
	"image"
	"image/png"

	"github.com/denseflow/densereward/reward"
)

// Encode makes a PNG file of img, quickly rather than small. It fails if img has
// no pixels or not all of them.
func Encode(img *reward.Image) ([]byte, error) {
	if img.Width < 1 || img.Height < 1 || len(img.Pix) != img.Width*img.Height*3 {
		return nil, fmt.Errorf("png: an image of %dx%d with %d bytes", img.Width, img.Height, len(img.Pix))
	}
	// image has no RGB without alpha; png.Encoder drops alpha that is full.
	rgba := image.NewRGBA(image.Rect(0, 0, img.Width, img.Height))
	for in, out := img.Pix, rgba.Pix; len(in) > 0; in, out = in[3:], out[4:] {
		out[0], out[1], out[2], out[3] = in[0], in[1], in[2], 255
	}
	var file bytes.Buffer
	file.Grow(len(img.Pix)/2 + 1024)
	encoder := png.Encoder{CompressionLevel: png.BestSpeed}
	if err := encoder.Encode(&file, rgba); err != nil {
		return nil, fmt.Errorf("png: %w", err)
	}
	return file.Bytes(), nil
}
