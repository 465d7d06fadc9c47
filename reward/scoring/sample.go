package scoring

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
)

// sample is the image of one sample, decoded or not.
type sample struct {
	from          Image         // unset for one that comes from latents
	image         *reward.Image // nil until decoded
	height, width int           // 0 where a file's header cannot be read, which is an error
	latents       int64         // bytes of those that it comes from
	seen          atomic.Bool   // by OnPreview
}

// bytes is what the sample holds in memory at most, encoded and decoded.
func (s *sample) bytes() int64 {
	if s.image != nil {
		return int64(len(s.image.Pix))
	}
	n := int64(s.height)*int64(s.width)*3 + s.latents
	if s.from.Tensor != nil {
		return n + int64(len(s.from.Tensor.Data))
	}
	return n + int64(len(s.from.Encoded))
}

// load makes samples of the images or latents. Tensors that need no conversion
// are images already; the rest is decoded when its turn comes.
func (l *Loaded) load() {
	n := len(l.in.Prompts)
	l.samples, l.errs = make([]sample, n), make([]*reward.Error, n)
	for i := range l.samples {
		s := &l.samples[i]
		if l.latents != nil {
			s.height, s.width = l.latents.layout.ImageHeight, l.latents.layout.ImageWidth
			s.latents = int64(len(l.in.Latents.Tensor.Data) / n)
			continue
		}
		s.from = l.in.Images[i]
		if err := l.pipeline.measure(s); err != nil {
			l.errs[i] = reward.AsError(err, reward.ErrInternal)
		}
	}
}

// measure finds the size of a sample's image, which takes no more than its
// header, or the image itself where that costs nothing.
func (p *Pipeline) measure(s *sample) (err error) {
	switch from := &s.from; {
	case from.Decoded != nil:
		s.image = from.Decoded
		s.height, s.width = s.image.Height, s.image.Width
		if s.height < 1 || s.width < 1 || len(s.image.Pix) != 3*s.height*s.width {
			return reward.ErrInvalidValue.With("an image of %dx%d pixels has %d bytes", s.height, s.width, len(s.image.Pix))
		}
	case from.Tensor == nil:
		if s.width, s.height, err = image.Size(from.Encoded, p.imageLimits()); err != nil {
			return imageError(err)
		}
	default:
		t, err := imageTensor(from.Tensor)
		if err != nil {
			return err
		}
		s.height, s.width = t.Height, t.Width
		if t.DType == image.Uint8 && t.Layout == image.HWC {
			s.image, err = p.decode(s, false)
		}
		return err
	}
	return nil
}

// decode gives the sample's image, or an *reward.Error.
func (p *Pipeline) decode(s *sample, clamp bool) (*reward.Image, error) {
	var decoded *reward.Image
	var err error
	if s.from.Tensor != nil {
		var t image.Tensor
		if t, err = imageTensor(s.from.Tensor); err != nil {
			return nil, err
		}
		decoded, err = image.FromTensor(t, p.imageLimits(), clamp)
	} else {
		decoded, err = p.Files.Decode(s.from.Encoded)
	}
	if err != nil {
		return nil, imageError(err)
	}
	return decoded, nil
}

// imageTensor names a tensor's type and layout in the terms of package image.
func imageTensor(t *reward.Tensor) (image.Tensor, error) {
	i := image.Tensor{Data: t.Data}
	switch t.Type {
	case reward.Uint8:
		i.DType = image.Uint8
	case reward.Float16:
		i.DType = image.Float16
	case reward.BFloat16:
		i.DType = image.BFloat16
	case reward.Float32:
		i.DType = image.Float32
	default:
		return i, reward.ErrUnsupportedDType.With("type %s: want uint8, float16, bfloat16 or float32", t.Type)
	}
	switch {
	case len(t.Shape) == 3 && t.Shape[2] == 3:
		i.Layout, i.Height, i.Width = image.HWC, t.Shape[0], t.Shape[1]
	case len(t.Shape) == 3 && t.Shape[0] == 3:
		i.Layout, i.Height, i.Width = image.CHW, t.Shape[1], t.Shape[2]
	default:
		return i, reward.ErrInvalidValue.With("shape %v: want (h,w,3) or (3,h,w)", t.Shape)
	}
	return i, nil
}

// imageError is the protocol's error for one of package image, whose texts
// hold sizes and limits and never a path.
func imageError(err error) *reward.Error {
	kinds := []struct {
		is *reward.Error
		of error
	}{
		{reward.ErrImageUnsupported, image.ErrFormat},
		{reward.ErrImageUnsupported, image.ErrUnsupported},
		{reward.ErrImageTooLarge, image.ErrTooLarge},
		{reward.ErrNotFinite, image.ErrNotFinite},
		{reward.ErrPixelRange, image.ErrRange},
		{reward.ErrInvalidValue, image.ErrShape},
	}
	for _, k := range kinds {
		if errors.Is(err, k.of) && k.is == reward.ErrPixelRange {
			return k.is.With("%v; clamp: true takes them as they are", err)
		}
		if errors.Is(err, k.of) {
			return k.is.With("%v", err)
		}
	}
	return reward.ErrImageCorrupt.With("%v", err)
}

// job is sample i as the scorer takes it.
func (l *Loaded) job(i int) batch.Job {
	s := &l.samples[i]
	j := batch.Job{
		Sample: reward.Sample{Image: s.image, Prompt: l.in.Prompts[i], Mode: l.o.Mode, Continuation: l.continuation},
		Bytes:  s.bytes(),
	}
	if l.in.Metadata != nil {
		j.Sample.Metadata = l.in.Metadata[i]
	}
	if l.in.Hold != nil {
		j.Release = l.in.Hold()
	}
	switch {
	case l.latents != nil:
		j.Load = func(ctx context.Context) (*reward.Image, error) {
			decoded, err := l.latents.image(ctx, i)
			if err != nil {
				return nil, err
			}
			return decoded, l.show(i, decoded)
		}
	case s.image == nil:
		l.loadLater(i, &j)
	case l.o.OnImage != nil || l.o.OnPreview != nil:
		j.Load = func(context.Context) (*reward.Image, error) { return s.image, l.show(i, s.image) }
	}
	return j
}

// loadLater has the image of sample i decoded by the job, and its memory used
// again when the job is done.
func (l *Loaded) loadLater(i int, j *batch.Job) {
	s, p, release := &l.samples[i], l.pipeline, j.Release
	j.Source = s.from.Encoded
	var decoded *reward.Image
	j.Load = func(context.Context) (_ *reward.Image, err error) {
		if decoded, err = p.decode(s, l.o.Clamp); err != nil {
			return nil, err
		}
		return decoded, l.show(i, decoded)
	}
	j.Release = func() {
		if release != nil {
			release()
		}
		if decoded != nil && l.o.OnImage == nil {
			p.Files.Recycle(decoded)
		}
	}
}

// show hands an image to whoever wants to see it.
func (l *Loaded) show(i int, decoded *reward.Image) error {
	if l.o.OnPreview != nil {
		l.samples[i].seen.Store(true)
		l.o.OnPreview(i, decoded)
	}
	if l.o.OnImage == nil {
		return nil
	}
	return l.o.OnImage(i, decoded)
}

// showCached decodes the files that nobody needed to decode, for OnPreview.
func (l *Loaded) showCached(outcomes []batch.Outcome) {
	if l.o.OnPreview == nil || l.latents != nil {
		return
	}
	for i := range l.samples {
		s := &l.samples[i]
		if !outcomes[i].Cached || l.errs[i] != nil || s.seen.Load() {
			continue
		}
		if s.image != nil {
			l.o.OnPreview(i, s.image)
			continue
		}
		if decoded, err := l.pipeline.decode(s, l.o.Clamp); err == nil {
			l.o.OnPreview(i, decoded)
			l.pipeline.Files.Recycle(decoded)
		}
	}
}
