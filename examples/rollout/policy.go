package main

import (
	"math"
	"math/rand/v2"
	"strings"

	"github.com/denseflow/densereward/flowgrpo"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
)

const (
	side     = 32 // of the latents
	scale    = 8  // pixels a side of a latent cell, as SD3 has it
	channels = 3  // the toy's latents are colours
	steps    = 10
	trained  = 6 // the step whose loss is taken
	noise    = 0.7
)

// rollout is one batch: a few images of each prompt, and the transition that
// is trained.
type rollout struct {
	prompts []string // one an image
	shape   flowgrpo.Shape
	latents []float64 // (B,C,H,W), at sigma 0 once sampled

	steps         []flowgrpo.Step
	before, after []float64 // x_t and x_{t-1}
	output        []float64 // v
	logProb       []float64 // (B), of x_{t-1} when it was drawn
}

func newRollout(prompts []string, images int) *rollout {
	r := &rollout{}
	for _, prompt := range prompts {
		for range images {
			r.prompts = append(r.prompts, prompt)
		}
	}
	r.shape = flowgrpo.Latents(len(r.prompts), channels, side, side)
	return r
}

// sample draws the batch: noise, then the SDE sampler down to sigma 0, with a
// source of noise for each image.
func (r *rollout) sample() {
	sources := make([]flowgrpo.NormSource, r.shape.Batch)
	r.latents = make([]float64, r.shape.Len())
	each := len(r.latents) / r.shape.Batch
	for i := range sources {
		source := rand.New(rand.NewPCG(11, uint64(i)))
		sources[i] = source
		for k := range each {
			r.latents[i*each+k] = source.NormFloat64()
		}
	}
	schedule := flowgrpo.NewSchedule(steps, 3)
	for index := range schedule.Steps() {
		method := flowgrpo.SDE
		if index == schedule.Steps()-1 {
			method = flowgrpo.ODE // the last step adds no noise
		}
		r.step(index, schedule.Step(index, method, noise), sources)
	}
}

// step takes the batch from one sigma to the next and keeps the trained one.
func (r *rollout) step(index int, step flowgrpo.Step, sources []flowgrpo.NormSource) {
	batch := make([]flowgrpo.Step, r.shape.Batch)
	for i := range batch {
		batch[i] = step
	}
	output, next := r.velocity(step.Sigma), make([]float64, r.shape.Len())
	flowgrpo.SampleStep(next, r.shape, batch, output, r.latents, sources)
	if index == trained {
		r.steps, r.before, r.after, r.output = batch, r.latents, next, output
		r.logProb = make([]float64, r.shape.Batch)
		flowgrpo.LogProb(r.logProb, nil, r.shape, batch, output, r.latents, next)
	}
	r.latents = next
}

// velocity is the toy policy: straight towards a drawing of the prompt, which
// the noise of the sampler blurs.
func (r *rollout) velocity(sigma float64) []float64 {
	v := make([]float64, r.shape.Len())
	for i, prompt := range r.prompts {
		for k := range r.shape.Locations {
			y, x := float64(k/side)-side/2, float64(k%side)-side/2
			colour := drawing(prompt, x, y)
			for c := range channels {
				at := (i*channels+c)*r.shape.Locations + k
				v[at] = (r.latents[at] - colour[c]) / max(sigma, 0.05)
			}
		}
	}
	return v
}

// drawing is a red shape on a dark background, in [-1,1].
func drawing(prompt string, x, y float64) [channels]float64 {
	distance := math.Max(math.Abs(x), math.Abs(y))
	if strings.Contains(prompt, "circle") {
		distance = math.Hypot(x, y)
	}
	if distance < side/4 {
		return [channels]float64{0.7, -0.6, -0.6}
	}
	return [channels]float64{-0.6, -0.6, -0.4}
}

// request asks for dense rewards and advantages on the latents' own grid.
func (r *rollout) request() *wire.Request {
	q := &wire.Request{
		Prompts:   r.prompts,
		Grid:      reward.GridSpec{Preset: "sd3"},
		Advantage: &reward.Advantage{Method: reward.AdvantageDenseFlowPaper},
	}
	for i := range r.prompts {
		q.Images = append(q.Images, wire.Image{Tensor: r.image(i)})
	}
	return q
}

// image decodes one image, (H,W,3): each latent cell a square of its colour.
func (r *rollout) image(i int) *reward.Tensor {
	const pixels = side * scale
	levels := make([]uint8, pixels*pixels*channels)
	for y := range pixels {
		for x := range pixels {
			for c := range channels {
				v := r.latents[((i*channels+c)*side+y/scale)*side+x/scale]
				levels[(y*pixels+x)*channels+c] = uint8(math.RoundToEven(255 * min(max(v/2+0.5, 0), 1)))
			}
		}
	}
	return reward.Uint8Tensor(levels, pixels, pixels, channels)
}
