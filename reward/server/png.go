package server

import (
	"github.com/denseflow/densereward/engine/pixels"
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
			file, err := pixels.EncodePNG((*pixels.RGB)(r.pictures[i].image))
			if err != nil {
				return reward.ErrInternal.Wrap(err)
			}
			r.returned[i] = file
		}
	}
	r.pictures, r.q.Images, r.q.Latents = nil, nil, nil
	return nil
}
