package pixels

import "fmt"

// RGB is an 8-bit picture. Pix holds Height*Width*3 bytes: R, G, B interleaved,
// row major, without padding. Its fields are those of reward.Image, so either
// pointer type converts to the other.
type RGB struct {
	Width, Height int
	Pix           []uint8
}

// NewRGB returns a black picture.
func NewRGB(width, height int) *RGB {
	return &RGB{Width: width, Height: height, Pix: make([]uint8, width*height*3)}
}

// mustHold panics unless img is a whole picture. Pictures that come from
// outside have passed through Decode or FromTensor, so anything else here is a
// mistake of the program.
func (img *RGB) mustHold(what string) {
	if img.Width < 1 || img.Height < 1 || len(img.Pix) != img.Width*img.Height*3 {
		panic(fmt.Sprintf("pixels: %s: a picture of %dx%d needs %d bytes, it has %d",
			what, img.Width, img.Height, img.Width*img.Height*3, len(img.Pix)))
	}
}
