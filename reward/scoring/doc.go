// Package scoring is the one pipeline from images and prompts to rewards: of
// the server, of the command line and of offline jobs.
//
// A [Pipeline] is an evaluator behind its scheduler. Its steps are a chain of
// values, each made of the one before and none changed afterwards:
//
//	Pipeline.Load         Input, Options → *Loaded     checked; headers read; the grid is known
//	Loaded.Evaluate       → *Evaluated                 decoded, evaluated, results checked; rewards R
//	Evaluated.MakeMaps    → *Mapped                    1-H and R(1-H) on the grid
//	Mapped.MakeAdvantages → *Scored                    advantages over groups
//
// [Pipeline.Score] takes them all. A sample that fails has its error and NaN in
// its place, costs its neighbours nothing and takes no part in the statistics of
// its group.
//
// Decoding happens when the scheduler has room for a sample, so that an Input
// of many images takes the memory of its files and no more. Images of one Input
// share a grid; images of several sizes, each on a grid of its own, are an Input
// each: the scheduler forms batches across calls, so that an offline job calls
// Score for as many images at a time as fill them, with Options.Patient.
//
//	p := &scoring.Pipeline{Evaluator: e.Describe(), Scorer: scheduler, Files: image.NewDecoder(image.Limits{})}
//	scored, err := p.Score(ctx, scoring.Input{
//		Prompts: []string{"a red cube"},
//		Images:  []scoring.Image{{Encoded: file}},
//	}, scoring.Options{Parts: scoring.Parts{Dense: true}, Patient: true}, nil)
//	// scored.Outcomes[0].Scores, .Maps; scored.Rewards[0]; scored.Weight on scored.Grid
//
// Conventions. N is the number of samples. Maps of an Input are float32 (N,h,w)
// in one slice, row major. H is the combined map in [0,1], 1 means flawed; R is
// the scalar reward.
package scoring
