package server

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
)

// latents are those of a request. They are decoded when their samples' turn to
// be judged comes: one lot of samples at a time, as many as the decoder decodes
// at once, so that it works on the next lot while an evaluator judges this one.
type latents struct {
	decoder reward.LatentDecoder
	tensor  *reward.Tensor
	layout  reward.LatentLayout
	logger  *slog.Logger

	tokenHeight, tokenWidth int // the grid that the request names for packed tokens, 0 for none

	lots []lot
}

// newLatents checks the latents of a request, and leaves them for later.
func newLatents(q *wire.Request, d reward.LatentDecoder, limits wire.Limits, logger *slog.Logger) (*latents, error) {
	l := &latents{decoder: d, tensor: q.Latents, logger: logger}
	if n := q.Grid.Height * q.Grid.Width; n > 0 && len(q.Latents.Shape) == 3 && n == q.Latents.Shape[1] {
		l.tokenHeight, l.tokenWidth = q.Grid.Height, q.Grid.Width
	}
	var err error
	if l.layout, err = d.Layout(q.Latents.Shape, l.tokenHeight, l.tokenWidth); err != nil {
		return nil, err
	}
	if height, width := l.layout.PictureHeight, l.layout.PictureWidth; int64(height)*int64(width) > int64(limits.ImagePixels) {
		return nil, reward.ErrImageTooLarge.With("latents: pictures of %dx%d exceed %d pixels", width, height, limits.ImagePixels)
	}
	samples, together := q.Latents.Shape[0], max(1, l.layout.Together)
	l.lots = make([]lot, (samples+together-1)/together)
	for i := range l.lots {
		l.lots[i] = lot{from: i * together, to: min((i+1)*together, samples), done: make(chan struct{})}
	}
	return l, nil
}

// lot is samples [from,to), which are decoded together.
type lot struct {
	from, to int
	begun    atomic.Bool
	done     chan struct{} // closed when the rest is there

	images []*reward.Image
	errs   []*reward.Error // nil where there are none
	err    error           // of the whole lot
}

// picture gives the picture of sample i, once. Whoever asks first for one of a
// lot decodes the lot, others wait for it. The samples of a request are given up
// together, so that ctx of the first ends with that of the others.
func (l *latents) picture(ctx context.Context, i int) (*reward.Image, error) {
	its := &l.lots[i/l.lots[0].to]
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
	its.images[at] = nil // the scheduler lets go of each picture on its own
	return image, nil
}

// decode decodes a lot.
func (l *latents) decode(ctx context.Context, its *lot) {
	its.err = reward.ErrInternal // stays if the decoder panics
	defer close(its.done)
	images, errs, err := l.decoder.Decode(ctx, l.tensor.Part(its.from, its.to), l.tokenHeight, l.tokenWidth)
	if err == nil && !complete(images, errs, its.to-its.from) {
		err = errors.New("pictures are missing")
	}
	its.images, its.errs = images, errs
	if its.err = err; err != nil {
		its.err = contextError(err, reward.ErrInternal)
	}
	if errors.Is(its.err, reward.ErrInternal) {
		l.logger.Error("latents were not decoded", "vae", l.decoder.Describe().Name, "samples", its.to-its.from, "error", err)
	}
}

// complete reports whether each of n samples has a picture or an error.
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
