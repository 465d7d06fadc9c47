package server

import (
	"context"
	"fmt"
	"math"

	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/reward"
)

// job is one request on its way to a response. Slices have one entry a sample.
type job struct {
	q         *reward.Request
	evaluator reward.Evaluator
	about     reward.Description
	decoder   reward.LatentDecoder // nil for a request of images
	weights   reward.Weights

	images  []*reward.Image
	errs    []*reward.Error // nil where the sample is fine so far
	grid    dense.Grid      // where maps are asked for
	results []reward.Result
	clean   bool // every sample that was judged was judged without an error
}

// newJob finds what the request names.
func (s *Server) newJob(q *reward.Request) (*job, error) {
	j := &job{q: q, evaluator: s.cfg.Evaluators[0], weights: reward.DefaultWeights()}
	if q.Evaluator != "" {
		e, ok := s.evaluators[q.Evaluator]
		if !ok {
			return nil, reward.ErrUnknownEvaluator.With("evaluator: no evaluator %.80q", q.Evaluator)
		}
		j.evaluator = e
	}
	j.about = j.evaluator.Describe()
	if q.Mode == "" {
		q.Mode = reward.ModeAnswer
	}
	if !answers(j.about, q.Mode) {
		return nil, reward.ErrUnsupportedMode.With("mode: %s does not answer in mode %q", j.about.Name, q.Mode)
	}
	if q.Weights != nil {
		j.weights = *q.Weights
	}
	if q.Latents != nil {
		d, ok := s.decoders[q.VAE]
		if !ok {
			return nil, reward.ErrUnknownVAE.With("vae: no latent decoder %.80q", q.VAE)
		}
		j.decoder = d
	}
	return j, nil
}

// decode makes pictures of the request's images or latents.
func (j *job) decode(ctx context.Context, s *Server) (err error) {
	if j.decoder == nil {
		j.images, j.errs, err = s.pictures(ctx, j.q)
		return err
	}
	j.images, j.errs, err = j.decoder.Decode(ctx, j.q.Latents)
	if err == nil && j.errs == nil {
		j.errs = make([]*reward.Error, len(j.images))
	}
	return err
}

// evaluate judges the samples whose pictures are there.
func (j *job) evaluate(ctx context.Context, s *Server, id string) error {
	var samples []reward.Sample
	var at []int // the sample's place in the request
	for i, image := range j.images {
		if j.errs[i] == nil {
			samples = append(samples, reward.Sample{Image: image, Prompt: j.q.Prompts[i], Mode: j.q.Mode})
			at = append(at, i)
		}
	}
	j.results = make([]reward.Result, len(j.images))
	j.clean = true
	if len(samples) == 0 {
		return nil
	}
	results, err := s.guard(ctx, j.evaluator, samples, id)
	if err != nil {
		return contextError(err, reward.ErrEvaluatorFailed)
	}
	for k, result := range results {
		i := at[k]
		if result.Err == nil {
			result.Err = checkResult(&result)
		}
		if result.Err != nil {
			j.clean = false
			j.errs[i] = contextError(result.Err, reward.ErrEvaluatorFailed)
			continue
		}
		j.results[i] = result
	}
	return nil
}

// guard calls an evaluator, contains its panic and counts its results.
func (s *Server) guard(ctx context.Context, e reward.Evaluator, samples []reward.Sample, id string) (results []reward.Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.logPanic(id, p)
			err = reward.ErrEvaluatorFailed
		}
	}()
	results, err = e.Evaluate(ctx, samples)
	if err == nil && len(results) != len(samples) {
		err = fmt.Errorf("%d results for %d samples", len(results), len(samples))
	}
	return results, err
}

// checkResult fails for what no evaluator should give.
func checkResult(r *reward.Result) error {
	for s, v := range r.Scores {
		if math.IsNaN(v) || v < 0 || v > 1 {
			return reward.ErrEvaluatorFailed.With("score %s is %v, not in [0,1]", reward.Score(s), v)
		}
	}
	for _, h := range []*reward.Heatmap{&r.Misalignment, &r.Artifact} {
		if len(h.Data) != h.Height*h.Width {
			return reward.ErrEvaluatorFailed.With("a heatmap of %dx%d has %d values", h.Height, h.Width, len(h.Data))
		}
	}
	return nil
}
