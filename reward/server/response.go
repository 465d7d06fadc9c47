package server

import (
	"math"
	"strings"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/wire"
)

// response assembles the response.
func (r *rollout) response() (*wire.Response, error) {
	n := len(r.outcomes)
	p := &wire.Response{
		Rewards:    r.rewards,
		Missing:    make([][]string, n),
		Errors:     r.errs,
		Cached:     make([]bool, n),
		Advantages: r.advantages,
		Images:     r.returned,
		Evaluator:  r.model.Description.Name,
		Model:      r.model.Description.Fingerprint,
	}
	for s, spec := range r.model.Description.Scores {
		values := make([]float64, n)
		for i := range values {
			values[i] = math.NaN()
			if r.errs[i] == nil {
				values[i] = r.outcomes[i].Scores[s]
			}
		}
		p.Scores = append(p.Scores, wire.NamedScores{Name: spec.Name, Values: values})
	}
	for i := range r.outcomes {
		p.Missing[i], p.Cached[i] = r.outcomes[i].Missing, r.outcomes[i].Cached
	}
	r.addAnswers(p)
	return p, r.addMaps(p)
}

func (r *rollout) addMaps(p *wire.Response) error {
	n := len(r.outcomes)
	if r.grid.Cells() > 0 && r.q.Wants(wire.ReturnDense) {
		p.Dense = &wire.DenseMaps{
			Height: r.grid.Height, Width: r.grid.Width,
			Weight: reward.Float32Tensor(r.weight, n, r.grid.Height, r.grid.Width),
			Reward: reward.Float32Tensor(r.denseReward, n, r.grid.Height, r.grid.Width),
		}
	}
	if r.q.Wants(wire.ReturnHeatmaps) {
		for k, spec := range r.model.Description.Maps {
			maps, err := r.heatmaps(k)
			if err != nil {
				return err
			}
			p.Heatmaps = append(p.Heatmaps, wire.NamedMaps{Name: spec.Name, Maps: maps})
		}
	}
	return nil
}

// heatmaps stacks the evaluator's k-th maps, (N,h,w). Those whose size varies
// must be of one size in a request that asks for them.
func (r *rollout) heatmaps(k int) (*reward.Tensor, error) {
	spec := r.model.Description.Maps[k]
	height, width := spec.Height, spec.Width
	for i := range r.outcomes {
		if r.errs[i] != nil || spec.Height > 0 {
			continue
		}
		switch m := &r.outcomes[i].Maps[k]; {
		case len(m.Data) == 0:
		case height == 0:
			height, width = m.Height, m.Width
		case height != m.Height || width != m.Width:
			return nil, reward.ErrGridMismatch.With("return: heatmaps.%s: maps of %dx%d and %dx%d do not fit one tensor: ask for \"dense\"",
				spec.Name, height, width, m.Height, m.Width)
		}
	}
	height, width = max(height, 1), max(width, 1)
	n, values := len(r.outcomes), height*width
	stack := make([]float32, n*values)
	for i := range r.outcomes {
		one := stack[i*values : (i+1)*values]
		if r.errs[i] != nil {
			fillNaN(one)
			continue
		}
		copy(one, r.outcomes[i].Maps[k].Data)
	}
	return reward.Float32Tensor(stack, n, height, width), nil
}

func (r *rollout) addAnswers(p *wire.Response) {
	n := len(r.outcomes)
	if r.q.Wants(wire.ReturnText) {
		p.Texts = make([]string, n)
		for i := range r.outcomes {
			p.Texts[i] = strings.ToValidUTF8(r.outcomes[i].Text, "\uFFFD")
		}
	}
	if r.q.Wants(wire.ReturnBoxes) {
		p.Boxes = make([][]reward.Box, n)
		for i := range r.outcomes {
			p.Boxes[i] = r.outcomes[i].Boxes
		}
	}
}

// timing is how long the stages of the request took. Those of the scheduler
// are the longest that any sample spent in them.
func (r *rollout) timing(watch *stopwatch) map[string]float64 {
	stages := watch.milliseconds()
	stage := func(name string, of func(*batch.Timing) time.Duration) {
		var longest time.Duration
		for i := range r.outcomes {
			longest = max(longest, of(&r.outcomes[i].Timing))
		}
		stages[name] = milliseconds(longest)
	}
	stage("queue", func(t *batch.Timing) time.Duration { return t.Queue })
	stage("prepare", func(t *batch.Timing) time.Duration { return t.Prepare })
	stage("wait", func(t *batch.Timing) time.Duration { return t.Wait })
	stage("evaluate", func(t *batch.Timing) time.Duration { return t.Evaluate })
	return stages
}
