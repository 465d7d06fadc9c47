package rft

import "github.com/denseflow/densereward/flowgrpo"

// Advantages fills dst (N) with the group-relative advantages of summed rewards
// (N) as the published run's trainer takes them,
//
//	A = (R - mean) / (std + 1e-4),
//
// with the sample standard deviation (n-1) of each group of completions to one
// prompt (trainer/grpo_trainer.py, lines 771-777). groups (N) names the group of
// each; nil is one group of all. A group of one has advantage 0, where torch has
// NaN. It fails as [flowgrpo.GroupAdvantages] does.
func Advantages(dst, sums []float64, groups []string) error {
	if groups == nil {
		groups = make([]string, len(sums))
	}
	return flowgrpo.GroupAdvantages(dst, sums, flowgrpo.GroupBy(groups), flowgrpo.Normalization{SampleStd: true, Epsilon: 1e-4})
}
