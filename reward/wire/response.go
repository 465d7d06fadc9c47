package wire

import "github.com/denseflow/densereward/reward"

// Response answers a Request of N samples, in their order.
//
// A sample that failed has an entry in Errors. Its numbers are NaN, its
// heatmaps and dense maps are NaN, its texts and boxes are empty, and it takes
// no part in the statistics of its group.
type Response struct {
	Rewards []float64       // N, the weighted sum of the scores
	Scores  []NamedScores   // in the evaluator's order
	Missing [][]string      // N, the scores and maps that the evaluator did not give
	Errors  []*reward.Error // N, nil for a sample that was scored
	Cached  []bool          // N, the result was known or shared with identical work

	Dense      *DenseMaps     // nil unless asked for
	Advantages *reward.Tensor // nil without a method; float64 (N) or float32 (N,h,w)
	// AdvantageMaps are N of (h,w), in place of Advantages where the samples' grids
	// differ.
	AdvantageMaps []*reward.Tensor
	Heatmaps      []NamedMaps    // in the evaluator's order; nil unless asked for
	Texts         []string       // N, nil unless asked for
	Boxes         [][]reward.Box // N, nil unless asked for
	Images        [][]byte       // N PNG files, nil unless asked for
	Ranks         []int          // N, see reward.Ranks; nil unless asked for

	// Warnings are what the caller may not have meant, for people.
	Warnings []string

	Evaluator string // the evaluator's name
	Model     string // the checkpoint's fingerprint
	Resize    string // how images came to the model's size; "" if the evaluator has one way alone
	// TimingMS is the time that each stage took, in milliseconds.
	TimingMS map[string]float64
}

// DenseMaps are the maps on the flow model's latent grid, float32 (N,h,w); where the
// samples' grids differ, N of (h,w) in Weights and Rewards, and Height and Width are 0.
type DenseMaps struct {
	Height, Width int
	Weight        *reward.Tensor // 1-H
	Reward        *reward.Tensor // R_D: R(1-H), or BoxFlow's form with that method

	Weights, Rewards []*reward.Tensor
}

// NamedScores is one score of N samples, NaN where a sample failed.
type NamedScores struct {
	Name   string
	Values []float64
}

// NamedMaps is one of the evaluator's own maps of N samples, float32 (N,h,w), or N of
// (h,w) in Each where their sizes differ; 1 means flawed.
type NamedMaps struct {
	Name string
	Maps *reward.Tensor
	Each []*reward.Tensor
}

// Score is the score of that name, N values; nil if the evaluator gives none.
func (p *Response) Score(name string) []float64 {
	for i := range p.Scores {
		if p.Scores[i].Name == name {
			return p.Scores[i].Values
		}
	}
	return nil
}

// OfSample is the map of sample i, float32 (h,w): of one tensor of all, or the i-th
// of one each.
func OfSample(one *reward.Tensor, each []*reward.Tensor, i int) *reward.Tensor {
	if one == nil {
		return each[i]
	}
	t := one.Part(i, i+1)
	t.Shape = t.Shape[1:]
	return t
}

// Heatmap is the evaluator's map of that name, float32 (N,h,w); nil if there is none,
// or the samples' sizes differ.
func (p *Response) Heatmap(name string) *reward.Tensor {
	for i := range p.Heatmaps {
		if p.Heatmaps[i].Name == name {
			return p.Heatmaps[i].Maps
		}
	}
	return nil
}
