package metrics

import (
	"fmt"

	"github.com/denseflow/densereward/reward"
)

// PresenceThresholds returns 0, 0.1 and 0.33, at which SDG-Eval asks whether an
// evaluator sees that an image is flawed.
func PresenceThresholds() []float64 { return []float64{0, 0.1, 0.33} }

// Detection counts what was found and what was there.
type Detection struct {
	TruePositives  int `json:"true_positives"`
	FalsePositives int `json:"false_positives"`
	FalseNegatives int `json:"false_negatives"`
}

// Add adds the counts of another set.
func (d *Detection) Add(other Detection) {
	d.TruePositives += other.TruePositives
	d.FalsePositives += other.FalsePositives
	d.FalseNegatives += other.FalseNegatives
}

// Precision is TP/(TP+FP), 0 where nothing was found.
func (d Detection) Precision() float64 {
	return ratio(d.TruePositives, d.TruePositives+d.FalsePositives)
}

// Recall is TP/(TP+FN), 0 where nothing was there.
func (d Detection) Recall() float64 {
	return ratio(d.TruePositives, d.TruePositives+d.FalseNegatives)
}

// F1 is the harmonic mean of precision and recall, 2TP/(2TP+FP+FN).
func (d Detection) F1() float64 {
	return ratio(2*d.TruePositives, 2*d.TruePositives+d.FalsePositives+d.FalseNegatives)
}

func ratio(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// Presence counts the images on which a flaw was seen, that is, whose value is
// above threshold, against those that have one. The value of an image is its
// heatmap's peak, or the largest importance of its boxes over 100; see
// [HeatmapPeak] and [BoxPeak].
func Presence(values []float64, truth []bool, threshold float64) (Detection, error) {
	if len(values) != len(truth) {
		return Detection{}, fmt.Errorf("metrics: presence: %d values beside %d", len(values), len(truth))
	}
	if err := checkFinite(values); err != nil {
		return Detection{}, fmt.Errorf("metrics: presence: %w", err)
	}
	var d Detection
	for i, v := range values {
		switch found := v > threshold; {
		case found && truth[i]:
			d.TruePositives++
		case found:
			d.FalsePositives++
		case truth[i]:
			d.FalseNegatives++
		}
	}
	return d, nil
}

// HeatmapPeak is the largest value of a map, 0 for none.
func HeatmapPeak(m reward.Map) float64 {
	var peak float64
	for _, v := range m.Data {
		peak = max(peak, float64(v))
	}
	return peak
}

// BoxPeak is the largest importance of the boxes in [0,1], 0 for none.
func BoxPeak(boxes []reward.Box) float64 {
	var peak float64
	for _, b := range boxes {
		peak = max(peak, b.Importance/100)
	}
	return peak
}

// BoxIoU is the overlap from which SDG-Eval takes a box for found.
const BoxIoU = 0.5

// MatchBoxes counts the boxes of one image that were found: predicted and true
// boxes are paired one to one so that as many pairs as possible overlap by at
// least threshold (a maximum matching, which no order of the boxes changes).
func MatchBoxes(predicted, truth []reward.Box, threshold float64) Detection {
	partner := make([]int, len(truth)) // the predicted box of each true one, or -1
	for i := range partner {
		partner[i] = -1
	}
	matched := 0
	for p := range predicted {
		if augment(p, predicted, truth, threshold, partner, make([]bool, len(truth))) {
			matched++
		}
	}
	return Detection{TruePositives: matched, FalsePositives: len(predicted) - matched, FalseNegatives: len(truth) - matched}
}

// augment finds predicted box p a partner, moving others to theirs if need be.
func augment(p int, predicted, truth []reward.Box, threshold float64, partner []int, seen []bool) bool {
	for t := range truth {
		if seen[t] || overlap(predicted[p].Coords, truth[t].Coords) < threshold {
			continue
		}
		seen[t] = true
		if partner[t] < 0 || augment(partner[t], predicted, truth, threshold, partner, seen) {
			partner[t] = p
			return true
		}
	}
	return false
}

// overlap is intersection over union, 0 for boxes without area.
func overlap(a, b [4]float64) float64 {
	inter := area(max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
	union := area(a[0], a[1], a[2], a[3]) + area(b[0], b[1], b[2], b[3]) - inter
	if !(union > 0) {
		return 0
	}
	return inter / union
}

func area(x0, y0, x1, y1 float64) float64 { return max(0, x1-x0) * max(0, y1-y0) }
