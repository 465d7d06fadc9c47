package imagedoctor

import "github.com/denseflow/densereward/reward"

// Score is the place of a score in reward.Result.Scores.
type Score int

// The scores, each in [0,1].
const (
	SemanticAlignment Score = iota
	Aesthetics
	Plausibility
	Overall
	NumScores = iota
)

// The maps, in the order of reward.Result.Maps.
const (
	Misalignment = iota
	Artifact
	NumMaps
)

// String is the name of s in the description.
func (s Score) String() string { return scoreSpecs()[s].Name }

// Scores are those of one answer, by Score; 0 where missing.
type Scores [NumScores]float64

// Missing tells, by Score, which ones an answer lacks.
type Missing [NumScores]bool

// Names lists the missing scores; it is never nil.
func (m Missing) Names() []string {
	names := []string{}
	for s, missing := range m {
		if missing {
			names = append(names, Score(s).String())
		}
	}
	return names
}

// scoreSpecs describes the scores. The weights are the public scorer's.
func scoreSpecs() []reward.ScoreSpec {
	return []reward.ScoreSpec{
		{Name: "semantic_alignment", Max: 1, Weight: 0.8, Doc: "how well the image shows what the prompt says"},
		{Name: "aesthetics", Max: 1, Weight: 0.1, Doc: "composition, light and colour"},
		{Name: "plausibility", Max: 1, Weight: 0.1, Doc: "freedom from distortions and impossible things"},
		{Name: "overall", Max: 1, Doc: "the overall impression"},
	}
}

// mapSpecs describes the maps, which are side x side. The public scorer takes
// their mean.
func mapSpecs(side int) []reward.MapSpec {
	return []reward.MapSpec{
		{Name: "misalignment", Height: side, Width: side, Weight: 0.5, Doc: "where the image contradicts its prompt"},
		{Name: "artifact", Height: side, Width: side, Weight: 0.5, Doc: "where the image is implausible"},
	}
}
