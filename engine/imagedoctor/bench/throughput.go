package bench

import (
	"context"
	"fmt"
	goruntime "runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/engine/qwenvl"
	"github.com/denseflow/densereward/reward"
)

// throughput runs batches one behind the other on every device, InFlight at a
// time, as the server does: beside them the host decodes and resizes the next
// images on all cores, joins them and reads the results. A device that is free
// takes the next batch, whichever it is. The time is from the first image to
// the last result.
func (m *measuring) throughput(ctx context.Context, sessions []*qwenvl.Session, out *Measurement) error {
	l, err := m.synthetic()
	if err != nil {
		return err
	}
	encoded, err := m.noisy()
	if err != nil {
		return err
	}
	out.Steps = l.steps
	if err := m.warm(ctx, sessions, l); err != nil {
		return err
	}
	p := newPipeline(ctx, m, l, m.o.Rounds*m.o.InFlight*len(sessions))
	began := time.Now()
	p.run(func() { p.prepare(encoded) })
	p.run(p.join)
	done := make([]atomic.Int64, len(sessions))
	for i, s := range sessions {
		for range m.o.InFlight {
			p.run(func() { p.evaluate(s, &done[i]) })
		}
	}
	if err := p.wait(); err != nil {
		return err
	}
	took := time.Since(began).Seconds()
	for i, provider := range m.o.Providers {
		rate := float64(done[i].Load()) * float64(m.o.Batch) / took
		out.Devices = append(out.Devices, Device{Device: provider.String(), Name: deviceName(provider), ImagesPerSec: rate})
		out.ImagesPerSec += rate
	}
	out.TokensPerSec = out.ImagesPerSec * float64(m.o.NewTokens)
	out.BatchSeconds = float64(m.o.Batch*len(sessions)) / out.ImagesPerSec
	return nil
}

// warm runs a batch on every device, all at once.
func (m *measuring) warm(ctx context.Context, sessions []*qwenvl.Session, l load) error {
	p := newPipeline(ctx, m, l, 0)
	for _, s := range sessions {
		p.run(func() {
			if _, err := s.Run(p.ctx, m.inputs(l, m.o.NewTokens)); err != nil {
				p.cancel(err)
			}
		})
	}
	return p.wait()
}

// pipeline takes images through the host's work to the devices.
type pipeline struct {
	*measuring
	load    load
	rounds  int // batches
	ctx     context.Context
	cancel  context.CancelCauseFunc
	all     sync.WaitGroup
	images  chan *reward.Image
	batches chan load
}

func newPipeline(ctx context.Context, m *measuring, l load, rounds int) *pipeline {
	p := &pipeline{measuring: m, load: l, rounds: rounds, images: make(chan *reward.Image), batches: make(chan load)}
	p.ctx, p.cancel = context.WithCancelCause(ctx)
	return p
}

func (p *pipeline) run(f func()) { p.all.Go(f) }

// wait is over when everything that runs has ended; it returns what went wrong
// first.
func (p *pipeline) wait() error {
	p.all.Wait()
	err := context.Cause(p.ctx)
	p.cancel(nil)
	return err
}

// prepare decodes and resizes every image, on all cores.
func (p *pipeline) prepare(encoded []byte) {
	defer close(p.images)
	var left atomic.Int64
	left.Store(int64(p.rounds * p.o.Batch))
	var cores sync.WaitGroup
	for range goruntime.GOMAXPROCS(0) {
		cores.Go(func() {
			for left.Add(-1) >= 0 {
				img, err := image.Decode(encoded, image.Limits{})
				if err == nil {
					img, err = p.w.Resized(img)
				}
				if err != nil {
					p.cancel(err)
					return
				}
				select {
				case p.images <- img:
				case <-p.ctx.Done():
					return
				}
			}
		})
	}
	cores.Wait()
}

// join puts batches together.
func (p *pipeline) join() {
	defer close(p.batches)
	for range p.rounds {
		next := p.load
		next.prompts = nil
		for _, sample := range p.load.prompts {
			image, ok := <-p.images
			if !ok {
				return
			}
			sample.Images = []*reward.Image{image}
			next.prompts = append(next.prompts, sample)
		}
		select {
		case p.batches <- next:
		case <-p.ctx.Done():
			return
		}
	}
}

// evaluate runs batches on a session and reads the results.
func (p *pipeline) evaluate(s *qwenvl.Session, done *atomic.Int64) {
	for b := range p.batches {
		out, err := s.Run(p.ctx, p.inputs(b, p.o.NewTokens))
		if err != nil {
			p.cancel(err)
			return
		}
		for row, sample := range b.prompts {
			r := p.w.Result(sample, out, row)
			if n := len(r.Trace.GeneratedIDs); n != p.o.NewTokens {
				p.cancel(fmt.Errorf("an answer of %d tokens, not %d", n, p.o.NewTokens))
				return
			}
		}
		done.Add(1)
	}
}
