package reward

// Score names one of the four numbers an evaluator gives a picture.
type Score int

// The scores in the order of every tensor and table of this project.
const (
	SemanticAlignment Score = iota
	Aesthetics
	Plausibility
	Overall
	NumScores = iota
)

var scoreNames = [NumScores]string{"semantic_alignment", "aesthetics", "plausibility", "overall"}

// String is the name of s on the wire.
func (s Score) String() string { return scoreNames[s] }

// Scores holds the four scores, each in [0,1], indexed by Score. A score that
// the evaluator did not give is 0.
type Scores [NumScores]float64

// Missing tells, indexed by Score, which scores the evaluator did not give.
type Missing [NumScores]bool

// Names lists the missing scores by their wire names; it is never nil.
func (m Missing) Names() []string {
	names := []string{}
	for s, missing := range m {
		if missing {
			names = append(names, scoreNames[s])
		}
	}
	return names
}

// Heatmap is a map of flaws over the whole picture: Height*Width values in
// [0,1], row major.
type Heatmap struct {
	Height, Width int
	Data          []float32
}

// Box is a region that the evaluator looked at: [x0,y0,x1,y1] in thousandths
// of the picture's width and height, with the label and importance (0 to 100)
// it was given; Importance is 100 where none was stated.
type Box struct {
	Coords     [4]float64
	Label      string // "artifact", "misalignment" or "" where unstated
	Importance float64
}

// Trace holds the token ids of one generation.
type Trace struct {
	InputIDs     []int32
	GeneratedIDs []int32 // without what was forced, with the end token if it was reached
}

// Result is what an evaluator found in one sample. When Err is set nothing
// else is.
type Result struct {
	Scores       Scores
	Missing      Missing
	Misalignment Heatmap // where the picture contradicts its prompt
	Artifact     Heatmap // where the picture is implausible
	Text         string  // the generated answer
	Boxes        []Box   // in ModeThink
	Trace        Trace
	Err          error
}

// Weights say how scores become the scalar reward, indexed by Score, and how
// the two heatmaps become one.
type Weights struct {
	Scores       [NumScores]float64
	Misalignment float64
	Artifact     float64
}

// DefaultWeights are those of the public ImageDoctor scorer: 0.8 alignment,
// 0.1 aesthetics, 0.1 plausibility; the heatmaps' mean.
func DefaultWeights() Weights {
	return Weights{
		Scores:       [NumScores]float64{SemanticAlignment: 0.8, Aesthetics: 0.1, Plausibility: 0.1},
		Misalignment: 0.5,
		Artifact:     0.5,
	}
}

// Reward is the weighted sum of s. A missing score counts as the 0 it holds.
func (g Weights) Reward(s Scores) float64 {
	var sum float64
	for i, weight := range g.Scores {
		sum += weight * s[i]
	}
	return sum
}
