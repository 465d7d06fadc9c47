package server

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/denseflow/densereward/engine/pixels"
	"github.com/denseflow/densereward/reward"
)

// pictures decodes the images of q. A picture that cannot be decoded is nil
// and has its error in errs; both have one entry a sample. err is ctx's.
func (s *Server) pictures(ctx context.Context, q *reward.Request) (images []*reward.Image, errs []*reward.Error, err error) {
	images = make([]*reward.Image, len(q.Images))
	errs = make([]*reward.Error, len(q.Images))
	var slow []int
	for i, p := range q.Images {
		if inPlace(p.Tensor) {
			images[i], errs[i] = s.picture(p)
		} else {
			slow = append(slow, i)
		}
	}
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(len(slow), cap(s.decoding)) {
		workers.Go(func() {
			for ctx.Err() == nil {
				n := int(next.Add(1)) - 1
				if n >= len(slow) {
					return
				}
				s.decoding <- struct{}{}
				images[slow[n]], errs[slow[n]] = s.picture(q.Images[slow[n]])
				<-s.decoding
			}
		})
	}
	workers.Wait()
	return images, errs, ctx.Err()
}

// inPlace reports whether a tensor's bytes are a picture as they are.
func inPlace(t *reward.Tensor) bool {
	return t != nil && t.Type == reward.Uint8 && t.Shape[2] == 3
}

// picture decodes one image.
func (s *Server) picture(p reward.Picture) (image *reward.Image, failed *reward.Error) {
	defer func() {
		if r := recover(); r != nil {
			s.logPanic("", r)
			image, failed = nil, reward.ErrImageCorrupt
		}
	}()
	limits := pixels.Limits{MaxPixels: s.cfg.Limits.ImagePixels}
	var rgb *pixels.RGB
	var err error
	if p.Tensor != nil {
		rgb, err = pixels.FromTensor(pixelTensor(p.Tensor), limits)
	} else {
		rgb, err = pixels.Decode(p.Encoded, limits)
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
