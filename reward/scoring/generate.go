package scoring

import (
	"context"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
)

// Generated is what came of N prompts that were continued.
type Generated struct {
	Evaluator   reward.Description
	Generations []reward.Generation // N; empty where Errors is set
	Errors      []*reward.Error     // N, nil where something was written
}

// Generate has the evaluator, which must be a reward.Generator, continue the prompts of
// in with their images. They queue with the samples that are scored, and wait for room.
// Metadata and Groups of in mean nothing here, and it holds no latents. Its error
// concerns all of them, as with Score.
func (p *Pipeline) Generate(ctx context.Context, in Input, c reward.Continuation) (*Generated, error) {
	if !p.Evaluator.Generates {
		return nil, reward.ErrUnsupportedMode.With("%s answers in its own words alone and continues no prompt", p.Evaluator.Name)
	}
	if in.Latents != nil {
		return nil, reward.ErrInvalidValue.With("latents: prompts are continued with images")
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	l := &Loaded{pipeline: p, in: in, o: Options{Mode: reward.ModeGenerate, Patient: true}, continuation: c}
	l.load()
	outcomes, err := l.score(ctx)
	if err != nil {
		return nil, err
	}
	g := &Generated{Evaluator: p.Evaluator, Generations: make([]reward.Generation, len(outcomes)), Errors: l.errs}
	for i := range outcomes {
		if g.Errors[i] == nil {
			g.Errors[i] = g.take(i, &outcomes[i])
		}
	}
	return g, allFailed(ctx, g.Errors)
}

// take takes over what came of sample i.
func (g *Generated) take(i int, o *batch.Outcome) *reward.Error {
	switch {
	case o.Err != nil:
		return reward.ContextError(o.Err, reward.ErrEvaluatorFailed)
	case o.Generation == nil:
		return reward.ErrEvaluatorFailed.With("%s continued nothing", g.Evaluator.Name)
	}
	g.Generations[i] = *o.Generation
	return nil
}
