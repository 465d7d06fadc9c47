package server

import (
	"bytes"
	"image"
	"image/png"

	"github.com/denseflow/densereward/reward"
)

// dropPictures lets go of all pictures, after those that are to be returned
// were made into files.
func (r *rollout) dropPictures() error {
	if r.q.Wants(reward.ReturnImages) {
		r.returned = make([][]byte, len(r.pictures))
		for i := range r.pictures {
			r.returned[i] = []byte{}
			if r.errs[i] != nil {
				continue
			}
			file, err := encodePNG(r.pictures[i].image)
			if err != nil {
				return reward.ErrInternal.Wrap(err)
			}
			r.returned[i] = file
		}
	}
	r.pictures, r.q.Images, r.q.Latents = nil, nil, nil
	return nil
}

// encodePNG prefers speed to size.
func encodePNG(picture *reward.Image) ([]byte, error) {
	m := image.NewRGBA(image.Rect(0, 0, picture.Width, picture.Height))
	for from, to := 0, 0; from < len(picture.Pix); from, to = from+3, to+4 {
		copy(m.Pix[to:], picture.Pix[from:from+3])
		m.Pix[to+3] = 0xff
	}
	var file bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestSpeed}
	err := encoder.Encode(&file, m)
	return file.Bytes(), err
}
