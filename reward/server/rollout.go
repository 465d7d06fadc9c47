package server

import (
	"context"
	"math"
	"slices"

	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/engine/image/png"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/wire"
)

// rollout is one request on its way to a response. Slices have one entry a
// sample.
type rollout struct {
	q       *wire.Request
	model   *Model
	latents *latents // nil for a request of images
	weights reward.Weighting
	limits  wire.Limits
	files   *image.Decoder

	pictures []picture
	errs     []*reward.Error // nil where the sample is fine so far
	grid     dense.Grid      // empty where no maps are asked for
	outcomes []batch.Outcome
	rewards  []float64 // NaN where errs is set
	weight   []float32 // 1-H, (N,h,w), NaN where errs is set

	denseReward []float32 // R_D, (N,h,w)
	advantages  *reward.Tensor
	returned    [][]byte // the pictures as PNG, where asked for
}

// newRollout finds what the request names.
func (s *Server) newRollout(q *wire.Request) (*rollout, error) {
	r := &rollout{q: q, model: &s.cfg.Models[0], limits: s.cfg.Limits, files: s.cfg.Files}
	if q.Evaluator != "" {
		m, ok := s.models[q.Evaluator]
		if !ok {
			return nil, reward.ErrUnknownEvaluator.With("evaluator: no evaluator %.80q", q.Evaluator)
		}
		r.model = m
	}
	about := r.model.Description
	if q.Mode == "" {
		q.Mode = about.DefaultMode()
	}
	if !slices.Contains(about.Modes, q.Mode) {
		return nil, reward.ErrUnsupportedMode.With("mode: %s does not answer in mode %q", about.Name, q.Mode)
	}
	var err error
	if r.weights, err = about.Weighting(q.Weights); err != nil {
		return nil, err
	}
	if err := checkReturn(q, &about); err != nil {
		return nil, err
	}
	if q.Latents == nil && q.Wants(wire.ReturnImages) {
		return nil, reward.ErrInvalidValue.With("return: images are those decoded from latents")
	}
	if q.Latents != nil {
		d, ok := s.decoders[q.VAE]
		if !ok {
			return nil, reward.ErrUnknownVAE.With("vae: no latent decoder %.80q", q.VAE)
		}
		if r.latents, err = newLatents(q, d, s.cfg.Limits, s.cfg.Logger); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// evaluate has the samples judged whose pictures are there.
func (r *rollout) evaluate(ctx context.Context, b *body) error {
	var jobs []batch.Job
	var at []int // the job's place in the request
	for i := range r.pictures {
		if r.errs[i] == nil {
			jobs = append(jobs, r.job(i, b))
			at = append(at, i)
		}
	}
	r.outcomes = make([]batch.Outcome, len(r.pictures))
	outcomes, err := r.model.Scorer.Score(ctx, jobs)
	if err != nil {
		return err
	}
	about := &r.model.Description
	for k, o := range outcomes {
		i := at[k]
		if o.Err == nil {
			o.Err = about.Check(&o.Result)
		}
		if o.Err != nil {
			r.errs[i] = contextError(o.Err, reward.ErrEvaluatorFailed)
			o.Result = reward.Result{}
		}
		r.outcomes[i] = o
	}
	r.rewards = make([]float64, len(r.outcomes))
	for i := range r.outcomes {
		r.rewards[i] = math.NaN()
		if r.errs[i] == nil {
			r.rewards[i] = r.weights.Reward(r.outcomes[i].Scores)
		}
	}
	return allFailed(ctx, r.errs)
}

// allFailed is the deadline's or the departed client's error when it is all
// that a request has come to, so that it is answered with that status.
func allFailed(ctx context.Context, errs []*reward.Error) error {
	if ctx.Err() == nil || slices.Contains(errs, nil) {
		return nil
	}
	return contextError(context.Cause(ctx), reward.ErrInternal)
}

// job is sample i as the scorer takes it.
func (r *rollout) job(i int, b *body) batch.Job {
	p := &r.pictures[i]
	j := batch.Job{
		Sample: reward.Sample{Image: p.image, Prompt: r.q.Prompts[i], Mode: r.q.Mode},
		Bytes:  p.bytes(),
	}
	if p.borrows {
		b.hold()
		j.Release = b.release
	}
	switch returned := r.q.Wants(wire.ReturnImages); {
	case r.latents != nil:
		j.Load = func(ctx context.Context) (*reward.Image, error) {
			image, err := r.latents.picture(ctx, i)
			if err == nil && returned {
				p.file, err = png.Encode(image)
			}
			return image, err
		}
	case p.image == nil:
		j.Source = p.sent.Encoded
		var decoded *reward.Image
		j.Load = func(context.Context) (_ *reward.Image, err error) {
			decoded, err = r.decode(p)
			return decoded, err
		}
		j.Release = func() {
			b.release()
			if decoded != nil {
				r.files.Recycle(decoded)
			}
		}
	}
	return j
}

// checkReturn fails where a request asks for what the evaluator never gives.
func checkReturn(q *wire.Request, about *reward.Description) error {
	for _, part := range q.Return {
		switch {
		case part == wire.ReturnText && !about.Text:
			return reward.ErrInvalidValue.With("return: %s gives no text", about.Name)
		case part == wire.ReturnBoxes && !about.Boxes:
			return reward.ErrInvalidValue.With("return: %s gives no boxes", about.Name)
		}
	}
	if q.Advantage != nil && q.Advantage.Method == reward.AdvantageBoxFlow && !about.Boxes {
		return reward.ErrInvalidValue.With("advantage.method: %s gives no boxes", about.Name)
	}
	return nil
}
