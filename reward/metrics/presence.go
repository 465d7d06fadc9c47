package metrics

import (
	"cmp"
	"fmt"
	"slices"

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

// Presence counts the images on which a flaw was seen against those that have
// one. The value of an image is the peak of its heatmap, predicted or true; a
// flaw is there where it is above threshold, on both sides (SDG-Eval,
// eval/code/eval_imdoc_richhf.py, lines 92-97). For boxes the value is 1 where
// there is any, else 0.
func Presence(predicted, truth []float64, threshold float64) (Detection, error) {
	if err := checkPairs(predicted, truth, 0); err != nil {
		return Detection{}, fmt.Errorf("metrics: presence: %w", err)
	}
	var d Detection
	for i, v := range predicted {
		switch found, there := v > threshold, truth[i] > threshold; {
		case found && there:
			d.TruePositives++
		case found:
			d.FalsePositives++
		case there:
			d.FalseNegatives++
		}
	}
	return d, nil
}

// Peak is the largest value of a map, 0 for a map without values.
func Peak(m reward.Map) float64 {
	var peak float64
	for _, v := range m.Data {
		peak = max(peak, float64(v))
	}
	return peak
}

// BoxIoU is the overlap from which SDG-Eval's stricter figure takes a box for
// found.
const BoxIoU = 0.5

// LabelBoth is the label of a box that is an artifact and a misalignment: it
// matches either.
const LabelBoth = "both"

// MatchBoxes counts the boxes of one image that were found: pairs of a predicted
// and a true box with the same label that overlap by at least threshold are taken
// in the order of their overlap, each box once (SDG-Eval, eval/code/evaluate.py,
// match_boxes; of equal overlaps the later box goes first).
func MatchBoxes(predicted, truth []reward.Box, threshold float64) Detection {
	type pair struct {
		iou  float64
		p, t int
	}
	var pairs []pair
	for p := range predicted {
		for t := range truth {
			iou := overlap(predicted[p].Coords, truth[t].Coords)
			if iou >= threshold && sameLabel(predicted[p].Label, truth[t].Label) {
				pairs = append(pairs, pair{iou, p, t})
			}
		}
	}
	slices.SortFunc(pairs, func(a, b pair) int {
		return cmp.Or(cmp.Compare(b.iou, a.iou), cmp.Compare(b.p, a.p), cmp.Compare(b.t, a.t))
	})
	usedP, usedT := make([]bool, len(predicted)), make([]bool, len(truth))
	matched := 0
	for _, c := range pairs {
		if !usedP[c.p] && !usedT[c.t] {
			usedP[c.p], usedT[c.t] = true, true
			matched++
		}
	}
	return Detection{TruePositives: matched, FalsePositives: len(predicted) - matched, FalseNegatives: len(truth) - matched}
}

func sameLabel(a, b string) bool {
	flaw := func(label string) bool { return label == "artifact" || label == "misalignment" }
	return a == b || a == LabelBoth && flaw(b) || b == LabelBoth && flaw(a)
}

// overlap is intersection over union, 0 where the union has no area. A box whose
// corners are swapped has a negative area, as in the published code.
func overlap(a, b [4]float64) float64 {
	inter := max(0, min(a[2], b[2])-max(a[0], b[0])) * max(0, min(a[3], b[3])-max(a[1], b[1]))
	union := area(a) + area(b) - inter
	if !(union > 0) {
		return 0
	}
	return inter / union
}

func area(b [4]float64) float64 { return (b[2] - b[0]) * (b[3] - b[1]) }
