package server

import (
	"math"
	"strings"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
)

// response assembles the response.
func (r *rollout) response() *reward.Response {
	n := len(r.outcomes)
	p := &reward.Response{
		Rewards:    r.rewards,
		Missing:    make([]reward.Missing, n),
		Errors:     r.errs,
		Cached:     make([]bool, n),
		Advantages: r.advantages,
		Images:     r.returned,
		Evaluator:  r.model.Description.Name,
		Model:      r.model.Description.Fingerprint,
	}
	for s := range p.Scores {
		p.Scores[s] = make([]float64, n)
		for i := range p.Scores[s] {
			p.Scores[s][i] = r.outcomes[i].Scores[s]
			if r.errs[i] != nil {
				p.Scores[s][i] = math.NaN()
			}
		}
	}
	for i := range r.outcomes {
		p.Missing[i], p.Cached[i] = r.outcomes[i].Missing, r.outcomes[i].Cached
	}
	r.addMaps(p)
	r.addAnswers(p)
	return p
}

func (r *rollout) addMaps(p *reward.Response) {
	n := len(r.outcomes)
	if r.grid.Cells() > 0 && r.q.Wants(reward.ReturnDense) {
		p.Dense = &reward.DenseMaps{
			Height: r.grid.Height, Width: r.grid.Width,
			Weight: reward.Float32Tensor(r.weight, n, r.grid.Height, r.grid.Width),
			Reward: reward.Float32Tensor(r.denseReward, n, r.grid.Height, r.grid.Width),
		}
	}
	if r.q.Wants(reward.ReturnHeatmaps) {
		p.Heatmaps = &reward.Heatmaps{
			Misalignment: r.heatmaps(func(o *reward.Result) []float32 { return o.Misalignment.Data }),
			Artifact:     r.heatmaps(func(o *reward.Result) []float32 { return o.Artifact.Data }),
		}
	}
}

// heatmaps stacks one kind of heatmap, (N,h,w).
func (r *rollout) heatmaps(of func(*reward.Result) []float32) *reward.Tensor {
	about := r.model.Description
	n, values := len(r.outcomes), about.HeatmapHeight*about.HeatmapWidth
	stack := make([]float32, n*values)
	for i := range r.outcomes {
		one := stack[i*values : (i+1)*values]
		if r.errs[i] != nil {
			fillNaN(one)
			continue
		}
		copy(one, of(&r.outcomes[i].Result))
	}
	return reward.Float32Tensor(stack, n, about.HeatmapHeight, about.HeatmapWidth)
}

func (r *rollout) addAnswers(p *reward.Response) {
	n := len(r.outcomes)
	if r.q.Wants(reward.ReturnText) {
		p.Texts = make([]string, n)
		for i := range r.outcomes {
			p.Texts[i] = strings.ToValidUTF8(r.outcomes[i].Text, "\uFFFD")
		}
	}
	if r.q.Wants(reward.ReturnBoxes) {
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
