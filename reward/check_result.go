package reward

import "math"

// MaxMagnitude bounds scores and rewards where a description does not: what statistics
// make of numbers of this size still fits in float32.
const MaxMagnitude = 1e30

// Check fails, with an ErrEvaluatorFailed that names the score, map or box, for
// what no evaluator of this description should give.
func (d *Description) Check(r *Result) error {
	if len(r.Scores) != len(d.Scores) || len(r.Maps) != len(d.Maps) {
		return ErrEvaluatorFailed.With("%d scores and %d maps, want %d and %d", len(r.Scores), len(r.Maps), len(d.Scores), len(d.Maps))
	}
	for i, v := range r.Scores {
		s := &d.Scores[i]
		low, high := max(s.Min, -MaxMagnitude), min(s.Max, MaxMagnitude)
		if !(v >= low && v <= high) && !(v == 0 && r.misses(s.Name)) { // also NaN
			return ErrEvaluatorFailed.With("score %s is %v, not in [%v,%v]", s.Name, v, low, high)
		}
	}
	for i := range r.Maps {
		if err := d.Maps[i].check(&r.Maps[i], r.misses(d.Maps[i].Name)); err != nil {
			return err
		}
	}
	for _, name := range r.Missing {
		if d.ScoreIndex(name) < 0 && d.MapIndex(name) < 0 {
			return ErrEvaluatorFailed.With("%.80q is missing and no score or map of %s", name, d.Name)
		}
	}
	for i, b := range r.Boxes {
		sum := b.Importance
		for _, c := range b.Coords {
			sum += c
		}
		if math.IsNaN(sum) || math.IsInf(sum, 0) {
			return ErrEvaluatorFailed.With("box %d is not finite", i)
		}
		if b.Importance < 0 || b.Importance > 100 {
			return ErrEvaluatorFailed.With("box %d has importance %v, not in [0,100]", i, b.Importance)
		}
	}
	return nil
}

// check holds the size of a map against its data and the description's.
func (m *MapSpec) check(got *Map, missing bool) error {
	fits := m.Height == got.Height && m.Width == got.Width
	if m.Height == 0 {
		fits = got.Height > 0 && got.Width > 0 || missing && got.Height == 0 && got.Width == 0
	}
	if !fits || len(got.Data) != got.Height*got.Width {
		return ErrEvaluatorFailed.With("map %s is %dx%d with %d values, want %dx%d",
			m.Name, got.Height, got.Width, len(got.Data), m.Height, m.Width)
	}
	for i, v := range got.Data {
		if !(v >= 0 && v <= 1) { // also NaN
			return ErrEvaluatorFailed.With("map %s is %v at row %d, column %d, not in [0,1]", m.Name, v, i/got.Width, i%got.Width)
		}
	}
	return nil
}

// misses reports whether the answer lacks the score or map of that name.
func (r *Result) misses(name string) bool {
	for _, missing := range r.Missing {
		if missing == name {
			return true
		}
	}
	return false
}
