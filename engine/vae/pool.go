package vae

import (
	"context"
	"errors"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/reward"
)

// Pool is one decoder on several devices: calls that come together run side by
// side, each on a device that is free.
type Pool struct {
	all  []*Decoder
	free chan *Decoder
}

var _ reward.LatentDecoder = (*Pool)(nil)

// LoadPool loads the decoder in the folder dir, as Load does, on each of the
// providers, of which there is at least one; o.Provider is ignored.
func LoadPool(ctx context.Context, dir string, o Options, providers ...ort.Provider) (*Pool, error) {
	p := &Pool{}
	for _, o.Provider = range providers {
		d, err := Load(ctx, dir, o)
		if err != nil {
			return nil, errors.Join(err, p.Close())
		}
		p.all = append(p.all, d)
	}
	p.release()
	return p, nil
}

func (p *Pool) release() {
	p.free = make(chan *Decoder, len(p.all))
	for _, d := range p.all {
		p.free <- d
	}
}

func (p *Pool) Describe() reward.DecoderDescription { return p.all[0].Describe() }

// Precision is that of Decoder.
func (p *Pool) Precision() (Precision, string) { return p.all[0].Precision() }

// Layout is that of Decoder. Together is what the device with the least memory
// decodes at once: any of them may get the call.
func (p *Pool) Layout(shape []int, height, width int) (reward.LatentLayout, error) {
	var least reward.LatentLayout
	for i, d := range p.all {
		of, err := d.Layout(shape, height, width)
		if err != nil {
			return reward.LatentLayout{}, err
		}
		if i == 0 || of.Together < least.Together {
			least = of
		}
	}
	return least, nil
}

// Decode is that of Decoder, on the first device that is free.
func (p *Pool) Decode(ctx context.Context, latents *reward.Tensor, height, width int) ([]*reward.Image, []*reward.Error, error) {
	select {
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	case d := <-p.free:
		defer func() { p.free <- d }()
		return d.Decode(ctx, latents, height, width)
	}
}

// warmCells is the side of the latents that Warm decodes.
const warmCells = 8

// Warm decodes a small image on every device, so that the first call does not
// wait for what is allocated and compiled on first use.
func (p *Pool) Warm(ctx context.Context) error {
	for _, d := range p.all {
		shape := []int{1, d.config.LatentChannels, warmCells, warmCells}
		zeros := make([]float32, shape[1]*warmCells*warmCells)
		if _, _, err := d.Decode(ctx, reward.Float32Tensor(zeros, shape...), 0, 0); err != nil {
			return err
		}
	}
	return nil
}

// Close frees the decoders once the calls at hand have ended. Decode fails from
// then on.
func (p *Pool) Close() error {
	var errs []error
	for _, d := range p.all {
		errs = append(errs, d.Close())
	}
	return errors.Join(errs...)
}
