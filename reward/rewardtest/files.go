package rewardtest

import (
	"bytes"
	"image"
	"image/png"

	"github.com/denseflow/densereward/reward"
)

// PNG encodes an image without loss, so that it keeps its Identity.
func PNG(img *reward.Image) []byte {
	m := image.NewRGBA(image.Rect(0, 0, img.Width, img.Height))
	for from, to := 0, 0; from < len(img.Pix); from, to = from+3, to+4 {
		copy(m.Pix[to:], img.Pix[from:from+3])
		m.Pix[to+3] = 0xff
	}
	var file bytes.Buffer
	if err := png.Encode(&file, m); err != nil {
		panic(err) // a buffer takes everything
	}
	return file.Bytes()
}

// Tensor is an image as a uint8 tensor (h,w,3) over the same pixels.
func Tensor(image *reward.Image) *reward.Tensor {
	return reward.Uint8Tensor(image.Pix, image.Height, image.Width, 3)
}
