package reward

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"
)

// Description says what an evaluator is and what it gives. Fingerprint
// identifies its weights and the options that change answers: equal
// fingerprints mean equal answers to equal questions.
type Description struct {
	Name        string // as requests name it
	Kind        string // "imagedoctor"
	Fingerprint string // hex

	Modes  []Mode      // at least one; the first is the default
	Scores []ScoreSpec // in the order of Result.Scores
	Maps   []MapSpec   // in the order of Result.Maps
	Text   bool        // Result.Text is what a model wrote
	Boxes  bool        // Result.Boxes may hold some, in one of the modes at least
	// Generates says that the evaluator is a Generator.
	Generates bool

	// PromptTokens is the most tokens of a prompt, 0 for no limit.
	PromptTokens int
	// Resize says how images come to the model's size, in the evaluator's words; "" where
	// there is one way alone.
	Resize string
	// Demonstration marks weights that are not fit for training.
	Demonstration bool
	// Note is what people should know who use it.
	Note string
}

// ScoreSpec describes one of an evaluator's scores.
type ScoreSpec struct {
	Name string
	// Min and Max bound the score; either may be infinite. A larger score is
	// better.
	Min, Max float64
	// Weight is the score's share in the scalar reward where nobody says
	// otherwise.
	Weight float64
	Doc    string
}

// MapSpec describes one of an evaluator's maps. Its values lie in [0,1]; 1
// means "flawed here".
type MapSpec struct {
	Name string
	// Height and Width are those of every such map; 0 and 0 if they vary from
	// image to image.
	Height, Width int
	// Weight is the map's share in the combined map where nobody says
	// otherwise.
	Weight float64
	Doc    string
}

// DefaultMode is the mode of a sample that names none.
func (d *Description) DefaultMode() Mode { return d.Modes[0] }

// ScoreIndex is the place of a score in Result.Scores, -1 if there is none of
// that name.
func (d *Description) ScoreIndex(name string) int {
	return slices.IndexFunc(d.Scores, func(s ScoreSpec) bool { return s.Name == name })
}

// MapIndex is the place of a map in Result.Maps, -1 if there is none of that
// name.
func (d *Description) MapIndex(name string) int {
	return slices.IndexFunc(d.Maps, func(m MapSpec) bool { return m.Name == name })
}

// The limits of a description.
const (
	MaxNames     = 64 // scores, and maps
	MaxNameBytes = 64 // of the name of a score or map
)

// Validate fails, naming what is wrong, for a description that no evaluator
// should have: without a name or a mode, with names that are empty, too long or
// taken, or weights of maps that are more than 1 together.
func (d *Description) Validate() error {
	switch {
	case d.Name == "":
		return errors.New("reward: the evaluator has no name")
	case len(d.Modes) == 0:
		return fmt.Errorf("reward: evaluator %s: no modes", d.Name)
	case len(d.Scores) > MaxNames || len(d.Maps) > MaxNames:
		return fmt.Errorf("reward: evaluator %s: %d scores and %d maps, limit %d", d.Name, len(d.Scores), len(d.Maps), MaxNames)
	}
	for _, m := range d.Modes {
		if !m.Valid() {
			return fmt.Errorf("reward: evaluator %s: mode %q is not one of the protocol", d.Name, m)
		}
	}
	seen := map[string]bool{}
	for _, name := range d.names() {
		if name == "" || len(name) > MaxNameBytes || !utf8.ValidString(name) || seen[name] {
			return fmt.Errorf("reward: evaluator %s: score or map %.80q: the name is empty, longer than %d bytes, not UTF-8 or taken", d.Name, name, MaxNameBytes)
		}
		seen[name] = true
	}
	return d.validateSpecs()
}

// names lists the names of scores and maps.
func (d *Description) names() []string {
	var names []string
	for _, s := range d.Scores {
		names = append(names, s.Name)
	}
	for _, m := range d.Maps {
		names = append(names, m.Name)
	}
	return names
}

func (d *Description) validateSpecs() error {
	for _, s := range d.Scores {
		if !(s.Min < s.Max) || math.IsNaN(s.Weight) || math.IsInf(s.Weight, 0) {
			return fmt.Errorf("reward: evaluator %s: score %s: range [%v,%v], weight %v", d.Name, s.Name, s.Min, s.Max, s.Weight)
		}
	}
	var sum float64
	for _, m := range d.Maps {
		if m.Height < 0 || m.Width < 0 || (m.Height == 0) != (m.Width == 0) || !(m.Weight >= 0) {
			return fmt.Errorf("reward: evaluator %s: map %s: size %dx%d, weight %v", d.Name, m.Name, m.Height, m.Width, m.Weight)
		}
		sum += m.Weight
	}
	if sum > 1+1e-9 { // the rounding of weights that are meant to sum to one
		return fmt.Errorf("reward: evaluator %s: weights of maps sum to %v, want at most 1", d.Name, sum)
	}
	return nil
}
