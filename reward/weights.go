package reward

import "maps"

// Weights say by name how scores become the scalar reward and how maps become
// one. A nil map stands for the evaluator's defaults; one that is given replaces
// them altogether: what it leaves out is 0.
type Weights struct {
	Scores map[string]float64 // of any sign
	Maps   map[string]float64 // at least 0, with a sum of at most 1
}

// Weighting is Weights for one evaluator, in the orders of its Description.
type Weighting struct {
	Scores, Maps []float64
}

// Weighting puts w in the orders of d; a nil w gives the defaults. It fails with
// ErrUnknownField for a name that d does not have.
func (d *Description) Weighting(w *Weights) (Weighting, error) {
	if w == nil {
		w = &Weights{}
	}
	scores, err := ordered("weights.scores", w.Scores, d.Scores, func(s *ScoreSpec) (string, float64) { return s.Name, s.Weight })
	if err != nil {
		return Weighting{}, err
	}
	maps, err := ordered("weights.heatmaps", w.Maps, d.Maps, func(m *MapSpec) (string, float64) { return m.Name, m.Weight })
	return Weighting{Scores: scores, Maps: maps}, err
}

// ordered lists the weights of specs, the specs' own where none are given.
func ordered[T any](field string, given map[string]float64, specs []T, of func(*T) (string, float64)) ([]float64, error) {
	weights, names := make([]float64, len(specs)), make([]string, len(specs))
	unknown := maps.Clone(given)
	for i := range specs {
		name, standard := of(&specs[i])
		names[i] = name
		if given == nil {
			weights[i] = standard
			continue
		}
		weights[i] = given[name]
		delete(unknown, name)
	}
	for name := range unknown {
		return nil, ErrUnknownField.With("%s: unknown key %.80q, the evaluator has %v", field, name, names)
	}
	return weights, nil
}

// Weighted are the scores whose weight is not 0, with their weights.
func (g Weighting) Weighted(scores []float64) (weighted, weights []float64) {
	for i, weight := range g.Scores {
		if weight != 0 {
			weighted, weights = append(weighted, scores[i]), append(weights, weight)
		}
	}
	return weighted, weights
}

// Reward is the weighted sum of scores. A missing score counts as the 0 it
// holds.
func (g Weighting) Reward(scores []float64) float64 {
	var sum float64
	for i, weight := range g.Scores {
		sum += weight * scores[i]
	}
	return sum
}
