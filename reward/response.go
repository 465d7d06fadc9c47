package reward

// Response answers a Request of N samples, in their order.
//
// A sample that failed has an entry in Errors. Its numbers are NaN, its
// heatmaps and dense maps are NaN, its texts and boxes are empty, and it takes
// no part in the statistics of its group.
type Response struct {
	Rewards []float64            // N, the weighted sum of the scores
	Scores  [NumScores][]float64 // N each, in [0,1]
	Missing []Missing            // N, the scores that the evaluator did not give
	Errors  []*Error             // N, nil for a sample that was scored
	Cached  []bool               // N, the result was known or shared with identical work

	Dense      *DenseMaps // nil unless asked for
	Advantages *Tensor    // nil without a method; float64 (N) or float32 (N,h,w)
	Heatmaps   *Heatmaps  // nil unless asked for
	Texts      []string   // N, nil unless asked for
	Boxes      [][]Box    // N, nil unless asked for
	Images     [][]byte   // N PNG files, nil unless asked for

	Evaluator string // the evaluator's name
	Model     string // the checkpoint's fingerprint
	// TimingMS is the time that each stage took, in milliseconds.
	TimingMS map[string]float64
}

// DenseMaps are the maps on the flow model's latent grid, float32 (N,h,w).
type DenseMaps struct {
	Height, Width int
	Weight        *Tensor // 1-H
	Reward        *Tensor // R_D: R(1-H), or BoxFlow's form with that method
}

// Heatmaps are the evaluator's own maps, float32 (N,h,w), 1 means flawed.
type Heatmaps struct {
	Misalignment *Tensor
	Artifact     *Tensor
}
