package server

import (
	"context"
	"errors"

	"github.com/denseflow/densereward/engine/pixels"
	"github.com/denseflow/densereward/reward"
)

// picture is the image of one sample, decoded or not.
type picture struct {
	sent          reward.Picture // unset for one that came from latents
	image         *reward.Image  // nil until decoded
	height, width int            // 0 where a file's header cannot be read, which is an error
	borrows       bool           // it or its file lies in the request's body
}

// bounds are the limits of a picture.
func (r *rollout) bounds() pixels.Limits { return pixels.Limits{MaxPixels: r.limits.ImagePixels} }

// bytes is what the picture holds in memory at most, encoded and decoded.
func (p *picture) bytes() int64 {
	if p.image != nil {
		return int64(len(p.image.Pix))
	}
	n := int64(p.height) * int64(p.width) * 3
	if p.sent.Tensor != nil {
		return n + int64(len(p.sent.Tensor.Data))
	}
	return n + int64(len(p.sent.Encoded))
}

// load makes pictures of the request's images or latents. Latents are decoded
// here, all at once, and so are tensors that need no conversion; the rest is
// decoded when its turn to be judged comes.
func (r *rollout) load(ctx context.Context) error {
	r.pictures = make([]picture, len(r.q.Prompts))
	r.errs = make([]*reward.Error, len(r.q.Prompts))
	if r.decoder != nil {
		return r.decodeLatents(ctx)
	}
	for i, sent := range r.q.Images {
		p := &r.pictures[i]
		p.sent, p.borrows = sent, true
		if sent.Tensor == nil {
			var err error
			if p.width, p.height, err = pixels.Size(sent.Encoded, r.bounds()); err != nil {
				r.errs[i] = pictureError(err)
			}
			continue
		}
		t := pixelTensor(sent.Tensor)
		p.height, p.width = t.Height, t.Width
		if t.DType == pixels.Uint8 && t.Layout == pixels.HWC {
			image, err := r.decode(p)
			if err != nil {
				r.errs[i] = reward.AsError(err, reward.ErrInternal)
			}
			p.image = image
		}
	}
	return nil
}

func (r *rollout) decodeLatents(ctx context.Context) error {
	images, errs, err := r.runDecoder(ctx)
	if err != nil {
		return contextError(err, reward.ErrInternal)
	}
	if len(images) != len(r.pictures) || (errs != nil && len(errs) != len(r.pictures)) {
		return reward.ErrInternal
	}
	copy(r.errs, errs)
	for i, image := range images {
		switch {
		case r.errs[i] != nil:
		case image == nil:
			r.errs[i] = reward.ErrInternal
		default:
			r.pictures[i] = picture{image: image, height: image.Height, width: image.Width}
		}
	}
	return nil
}

// runDecoder decodes the latents, packed tokens by the grid that the request
// names where it fits them.
func (r *rollout) runDecoder(ctx context.Context) ([]*reward.Image, []*reward.Error, error) {
	latents, grid := r.q.Latents, r.q.Grid
	d, ok := r.decoder.(reward.TokenDecoder)
	if ok && len(latents.Shape) == 3 && grid.Height > 0 && grid.Height*grid.Width == latents.Shape[1] {
		return d.DecodeTokens(ctx, latents, grid.Height, grid.Width)
	}
	return r.decoder.Decode(ctx, latents)
}

// decode gives the picture that was sent as p, or an *reward.Error.
func (r *rollout) decode(p *picture) (*reward.Image, error) {
	var rgb *pixels.RGB
	var err error
	if p.sent.Tensor != nil {
		rgb, err = pixels.FromTensor(pixelTensor(p.sent.Tensor), r.bounds())
	} else {
		rgb, err = r.files.Decode(p.sent.Encoded)
	}
	if err != nil {
		return nil, pictureError(err)
	}
	return (*reward.Image)(rgb), nil
}

// pixelTensor names a wire tensor's type and layout in the terms of package
// pixels. The request decoder has checked both.
func pixelTensor(t *reward.Tensor) pixels.Tensor {
	p := pixels.Tensor{Data: t.Data}
	switch t.Type {
	case reward.Uint8:
		p.DType = pixels.Uint8
	case reward.Float16:
		p.DType = pixels.Float16
	case reward.BFloat16:
		p.DType = pixels.BFloat16
	case reward.Float32:
		p.DType = pixels.Float32
	}
	if t.Shape[2] == 3 {
		p.Layout, p.Height, p.Width = pixels.HWC, t.Shape[0], t.Shape[1]
	} else {
		p.Layout, p.Height, p.Width = pixels.CHW, t.Shape[1], t.Shape[2]
	}
	return p
}

// pictureError is the protocol's error for one of package pixels, whose texts
// hold sizes and limits and never a path.
func pictureError(err error) *reward.Error {
	kinds := []struct {
		is *reward.Error
		of error
	}{
		{reward.ErrImageUnsupported, pixels.ErrFormat},
		{reward.ErrImageUnsupported, pixels.ErrUnsupported},
		{reward.ErrImageTooLarge, pixels.ErrTooLarge},
		{reward.ErrNotFinite, pixels.ErrNotFinite},
		{reward.ErrInvalidValue, pixels.ErrShape},
	}
	for _, k := range kinds {
		if errors.Is(err, k.of) {
			return k.is.With("%v", err)
		}
	}
	return reward.ErrImageCorrupt.With("%v", err)
}
