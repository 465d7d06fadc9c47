package scoring

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math"
	"sync/atomic"

	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/reward"
)

// latents are those of an Input. They are decoded when their samples' turn
// comes: one chunk of samples at a time, as many as the decoder decodes at once,
// so that it works on the next chunk while an evaluator works on this one.
type latents struct {
	decoder reward.LatentDecoder
	tensor  *reward.Tensor
	layout  reward.LatentLayout
	logger  *slog.Logger

	tokenHeight, tokenWidth int // the grid that is named for packed tokens, 0 for none

	chunks []chunk
}

// newLatents checks latents, and leaves them for later.
func (p *Pipeline) newLatents(in *Latents, grid reward.GridSpec) (*latents, error) {
	l := &latents{decoder: in.Decoder, tensor: in.Tensor, logger: p.logger()}
	l.tokenHeight, l.tokenWidth = grid.TokenGrid(in.Tensor.Shape)
	var err error
	if l.layout, err = in.Decoder.Layout(in.Tensor.Shape, l.tokenHeight, l.tokenWidth); err != nil {
		return nil, err
	}
	limits := image.Limits{MaxPixels: cmp.Or(p.Limits.ImagePixels, math.MaxInt)}
	if err := limits.Check(l.layout.ImageWidth, l.layout.ImageHeight); err != nil {
		return nil, reward.ErrImageTooLarge.With("latents: decoded images: %v", err)
	}
	samples, together := in.Tensor.Shape[0], max(1, l.layout.Together)
	l.chunks = make([]chunk, (samples+together-1)/together)
	for i := range l.chunks {
		l.chunks[i] = chunk{from: i * together, to: min((i+1)*together, samples), done: make(chan struct{})}
	}
	return l, nil
}

// chunk is samples [from,to), which are decoded together.
type chunk struct {
	from, to int
	begun    atomic.Bool
	done     chan struct{} // closed when the rest is there

	images []*reward.Image
	errs   []*reward.Error // nil where there are none
	err    error           // of the whole chunk
}

// image gives the image of sample i, once. Whoever asks first for one of a
// chunk decodes the chunk, others wait for it. The samples of a request are
// given up together, so that ctx of the first ends with that of the others.
func (l *latents) image(ctx context.Context, i int) (*reward.Image, error) {
	its := &l.chunks[i/l.chunks[0].to]
	if its.begun.CompareAndSwap(false, true) {
		l.decode(ctx, its)
	}
	select {
	case <-its.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	at := i - its.from
	switch {
	case its.err != nil:
		return nil, its.err
	case its.errs != nil && its.errs[at] != nil:
		return nil, its.errs[at]
	}
	image := its.images[at]
	its.images[at] = nil // the scheduler lets go of each image on its own
	return image, nil
}

func (l *latents) decode(ctx context.Context, its *chunk) {
	its.err = reward.ErrInternal // stays if the decoder panics
	defer close(its.done)
	images, errs, err := l.decoder.Decode(ctx, l.tensor.Part(its.from, its.to), l.tokenHeight, l.tokenWidth)
	if err == nil && !complete(images, errs, its.to-its.from) {
		err = errors.New("images are missing")
	}
	its.images, its.errs = images, errs
	if its.err = err; err != nil {
		its.err = reward.ContextError(err, reward.ErrInternal)
	}
	if errors.Is(its.err, reward.ErrInternal) {
		l.logger.Error("latents were not decoded", "vae", l.decoder.Describe().Name, "samples", its.to-its.from, "error", err)
	}
}

// complete reports whether each of n samples has an image or an error.
func complete(images []*reward.Image, errs []*reward.Error, n int) bool {
	if len(images) != n || errs != nil && len(errs) != n {
		return false
	}
	for i, image := range images {
		if image == nil && (errs == nil || errs[i] == nil) {
			return false
		}
	}
	return true
}
