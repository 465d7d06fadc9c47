package rewardtest

import (
	"bytes"
	"image"
	"image/png"

	"github.com/denseflow/densereward/reward"
)

// PNG is a picture as a PNG file.
func PNG(picture *reward.Image) []byte {
	m := image.NewRGBA(image.Rect(0, 0, picture.Width, picture.Height))
	for from, to := 0, 0; from < len(picture.Pix); from, to = from+3, to+4 {
		copy(m.Pix[to:], picture.Pix[from:from+3])
		m.Pix[to+3] = 0xff
	}
	var file bytes.Buffer
	if err := png.Encode(&file, m); err != nil {
		panic(err) // a buffer takes everything
	}
	return file.Bytes()
}

// Tensor is a picture as a uint8 tensor (h,w,3) over the same pixels.
func Tensor(picture *reward.Image) *reward.Tensor {
	return reward.Uint8Tensor(picture.Pix, picture.Height, picture.Width, 3)
}
