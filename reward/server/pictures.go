package server

import (
	"errors"

	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
)

// picture is the image of one sample, decoded or not.
type picture struct {
	sent          wire.Image    // unset for one that came from latents
	image         *reward.Image // nil until decoded
	height, width int           // 0 where a file's header cannot be read, which is an error
	borrows       bool          // it, its file or its latents lie in the request's body
	latents       int64         // bytes of those that it comes from
	file          []byte        // it as PNG, where it is to be returned
}

// bounds are the limits of a picture.
func (r *rollout) bounds() image.Limits { return image.Limits{MaxPixels: r.limits.ImagePixels} }

// bytes is what the picture holds in memory at most, encoded and decoded.
func (p *picture) bytes() int64 {
	if p.image != nil {
		return int64(len(p.image.Pix))
	}
	n := int64(p.height)*int64(p.width)*3 + p.latents
	if p.sent.Tensor != nil {
		return n + int64(len(p.sent.Tensor.Data))
	}
	return n + int64(len(p.sent.Encoded))
}

// load makes pictures of the request's images or latents. Tensors that need no
// conversion are pictures already; the rest is decoded when its turn to be judged
// comes.
func (r *rollout) load() {
	r.pictures = make([]picture, len(r.q.Prompts))
	r.errs = make([]*reward.Error, len(r.q.Prompts))
	if r.latents != nil {
		from := picture{
			height: r.latents.layout.PictureHeight, width: r.latents.layout.PictureWidth,
			borrows: true, latents: int64(len(r.q.Latents.Data) / len(r.pictures)),
		}
		for i := range r.pictures {
			r.pictures[i] = from
		}
		return
	}
	for i, sent := range r.q.Images {
		p := &r.pictures[i]
		p.sent, p.borrows = sent, true
		if sent.Tensor == nil {
			var err error
			if p.width, p.height, err = image.Size(sent.Encoded, r.bounds()); err != nil {
				r.errs[i] = pictureError(err)
			}
			continue
		}
		t := pixelTensor(sent.Tensor)
		p.height, p.width = t.Height, t.Width
		if t.DType == image.Uint8 && t.Layout == image.HWC {
			image, err := r.decode(p)
			if err != nil {
				r.errs[i] = reward.AsError(err, reward.ErrInternal)
			}
			p.image = image
		}
	}
}

// decode gives the picture that was sent as p, or an *reward.Error.
func (r *rollout) decode(p *picture) (*reward.Image, error) {
	var rgb *reward.Image
	var err error
	if p.sent.Tensor != nil {
		rgb, err = image.FromTensor(pixelTensor(p.sent.Tensor), r.bounds())
	} else {
		rgb, err = r.files.Decode(p.sent.Encoded)
	}
	if err != nil {
		return nil, pictureError(err)
	}
	return rgb, nil
}

// pixelTensor names a wire tensor's type and layout in the terms of package
// pixels. The request decoder has checked both.
func pixelTensor(t *reward.Tensor) image.Tensor {
	p := image.Tensor{Data: t.Data}
	switch t.Type {
	case reward.Uint8:
		p.DType = image.Uint8
	case reward.Float16:
		p.DType = image.Float16
	case reward.BFloat16:
		p.DType = image.BFloat16
	case reward.Float32:
		p.DType = image.Float32
	}
	if t.Shape[2] == 3 {
		p.Layout, p.Height, p.Width = image.HWC, t.Shape[0], t.Shape[1]
	} else {
		p.Layout, p.Height, p.Width = image.CHW, t.Shape[1], t.Shape[2]
	}
	return p
}

// pictureError is the protocol's error for one of package image, whose texts
// hold sizes and limits and never a path.
func pictureError(err error) *reward.Error {
	kinds := []struct {
		is *reward.Error
		of error
	}{
		{reward.ErrImageUnsupported, image.ErrFormat},
		{reward.ErrImageUnsupported, image.ErrUnsupported},
		{reward.ErrImageTooLarge, image.ErrTooLarge},
		{reward.ErrNotFinite, image.ErrNotFinite},
		{reward.ErrInvalidValue, image.ErrShape},
	}
	for _, k := range kinds {
		if errors.Is(err, k.of) {
			return k.is.With("%v", err)
		}
	}
	return reward.ErrImageCorrupt.With("%v", err)
}

// dropPictures lets go of all pictures but for the files that are to be returned.
func (r *rollout) dropPictures() {
	if r.q.Wants(wire.ReturnImages) {
		r.returned = make([][]byte, len(r.pictures))
		for i := range r.pictures {
			r.returned[i] = []byte{}
			if r.errs[i] == nil {
				r.returned[i] = r.pictures[i].file
			}
		}
	}
	r.pictures, r.q.Images, r.q.Latents = nil, nil, nil
}
