package server

import (
	"math"
	"strings"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/scoring"
	"github.com/denseflow/densereward/reward/wire"
)

func (a *answer) response(s *scoring.Scored) *wire.Response {
	n := len(s.Outcomes)
	p := &wire.Response{
		Rewards:    s.Rewards,
		Missing:    make([][]string, n),
		Errors:     s.Errors,
		Cached:     make([]bool, n),
		Advantages: s.Advantages, AdvantageMaps: s.AdvantageMaps,
		Warnings:  s.Warnings,
		Images:    a.images(s.Errors),
		Evaluator: s.Evaluator.Name,
		Model:     s.Evaluator.Fingerprint,
		Resize:    s.Evaluator.Resize,
	}
	for k, spec := range s.Evaluator.Scores {
		values := make([]float64, n)
		for i := range values {
			values[i] = math.NaN()
			if s.Errors[i] == nil {
				values[i] = s.Outcomes[i].Scores[k]
			}
		}
		p.Scores = append(p.Scores, wire.NamedScores{Name: spec.Name, Values: values})
	}
	for i := range s.Outcomes {
		p.Missing[i], p.Cached[i] = s.Outcomes[i].Missing, s.Outcomes[i].Cached
	}
	if a.groups != nil {
		p.Ranks = reward.Ranks(s.Rewards, a.groups)
	}
	a.addAnswers(p, s.Outcomes)
	a.addMaps(p, s)
	return p
}

// images are the PNG files of samples that did not fail; nil unless asked for.
func (a *answer) images(errs []*reward.Error) [][]byte {
	for i := range a.files {
		if errs[i] != nil {
			a.files[i] = []byte{}
		}
	}
	return a.files
}

func (a *answer) addMaps(p *wire.Response, s *scoring.Scored) {
	if s.Weight != nil && a.wants(wire.ReturnDense) {
		grid, _ := s.Grids.One()
		p.Dense = &wire.DenseMaps{Height: grid.Height, Width: grid.Width}
		p.Dense.Weight, p.Dense.Weights = s.Grids.Tensors(s.Weight)
		p.Dense.Reward, p.Dense.Rewards = s.Grids.Tensors(s.Reward)
	}
	if !a.wants(wire.ReturnHeatmaps) {
		return
	}
	for k, spec := range s.Evaluator.Maps {
		one, each := s.Heatmaps(k)
		p.Heatmaps = append(p.Heatmaps, wire.NamedMaps{Name: spec.Name, Maps: one, Each: each})
	}
}

func (a *answer) addAnswers(p *wire.Response, outcomes []batch.Outcome) {
	if a.wants(wire.ReturnText) {
		p.Texts = make([]string, len(outcomes))
		for i := range outcomes {
			p.Texts[i] = strings.ToValidUTF8(outcomes[i].Text, "\uFFFD")
		}
	}
	if a.wants(wire.ReturnBoxes) {
		p.Boxes = make([][]reward.Box, len(outcomes))
		for i := range outcomes {
			p.Boxes[i] = outcomes[i].Boxes
		}
	}
}

// timing is how long the stages of the request took. Those of the scheduler
// are the longest that any sample spent in them.
func timing(watch *stopwatch, outcomes []batch.Outcome) map[string]float64 {
	stages := watch.milliseconds()
	stage := func(name string, of func(*batch.Timing) time.Duration) {
		var longest time.Duration
		for i := range outcomes {
			longest = max(longest, of(&outcomes[i].Timing))
		}
		stages[name] = milliseconds(longest)
	}
	stage("queue", func(t *batch.Timing) time.Duration { return t.Queue })
	stage("prepare", func(t *batch.Timing) time.Duration { return t.Prepare })
	stage("wait", func(t *batch.Timing) time.Duration { return t.Wait })
	stage("evaluate", func(t *batch.Timing) time.Duration { return t.Evaluate })
	return stages
}
