package server

import (
	"bytes"
	"image"
	// The formats whose headers headerSize reads.
	_ "image/jpeg"
	_ "image/png"

	_ "golang.org/x/image/webp"
)

// headerSize is the size that an image file declares, 0 where its header
// cannot be read; decoding it then says what is wrong.
func headerSize(file []byte) (height, width int) {
	c, _, err := image.DecodeConfig(bytes.NewReader(file))
	if err != nil {
		return 0, 0
	}
	return c.Height, c.Width
}
