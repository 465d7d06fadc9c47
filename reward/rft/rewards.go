package rft

import (
	"fmt"
	"math"

	"github.com/denseflow/densereward/reward"
)

// Reward names one of the twelve rewards of the published run.
type Reward int

// The rewards in the order in which the published run lists them
// (run_scripts/run_grpo_np_grounding.sh).
const (
	MisalignmentHeatmap Reward = iota
	ArtifactHeatmap
	Semantic
	Aesthetic
	Plausibility
	Overall
	MisalignmentIoU
	ArtifactIoU
	ArtifactAvePixel
	MisalignmentAvePixel
	ArtifactUnion
	MisalignmentUnion
	NumRewards = iota
)

var rewardNames = [NumRewards]string{
	"misalignment_location_heatmap", "artifact_location_heatmap",
	"semantic_score", "aesthetic_score", "plausibility_score", "overall_score",
	"misalignment_boundingbox_iou", "artifact_boundingbox_iou",
	"artifact_boundingbox_avepixel", "misalignment_boundingbox_avepixel",
	"artifact_boundingbox_union", "misalignment_boundingbox_union",
}

// String is the name of r in the public code's registry.
func (r Reward) String() string { return rewardNames[r] }

// Rewards holds the twelve rewards of one completion, indexed by Reward. Score
// rewards are at most 1 and have no lower bound; the others lie in [0,1].
type Rewards [NumRewards]float64

// Sum is what the published run trains on: the rewards added unweighted.
func (r Rewards) Sum() float64 {
	var sum float64
	for _, v := range r {
		sum += v
	}
	return sum
}

// Completion is one answer of the evaluator that is being trained.
type Completion struct {
	Text string
	// Misalignment and Artifact are the heatmaps that came with the answer. The
	// heatmap reward of one that is nil is 0.
	Misalignment, Artifact *reward.Map
}

// Truth is what people said of the image.
type Truth struct {
	Scores                 Scores
	Misalignment, Artifact reward.Map
}

// Evaluate computes the rewards of one completion. It fails for a map whose
// size and data disagree or that holds a NaN or an infinity.
func Evaluate(c Completion, truth Truth) (Rewards, error) {
	var r Rewards
	misalignment, err := newTruthMap("the truth's misalignment", truth.Misalignment)
	if err != nil {
		return r, err
	}
	artifact, err := newTruthMap("the truth's artifact", truth.Artifact)
	if err != nil {
		return r, err
	}
	if r[MisalignmentHeatmap], err = heatmapReward("misalignment", c.Misalignment, misalignment, 80); err != nil {
		return r, err
	}
	if r[ArtifactHeatmap], err = heatmapReward("artifact", c.Artifact, artifact, 40); err != nil {
		return r, err
	}
	predicted := ParseScores(c.Text)
	for i, reward := range [NumScores]Reward{Semantic, Aesthetic, Plausibility, Overall} {
		r[reward] = scoreReward(predicted, truth.Scores, i)
	}
	boxes := parseBoxes(c.Text)
	r[MisalignmentIoU], r[MisalignmentAvePixel], r[MisalignmentUnion] = boxRewards(boxes, misalignment)
	r[ArtifactIoU], r[ArtifactAvePixel], r[ArtifactUnion] = boxRewards(boxes, artifact)
	return r, nil
}

// scoreReward is 1 - 3|p - g|, and 0 where either side has no answer block.
func scoreReward(predicted, truth Scores, i int) float64 {
	if !predicted.Present || !truth.Present {
		return 0
	}
	return 1 - 3*math.Abs(predicted.Values[i]-truth.Values[i])
}

// heatmapReward is 1 - clip(scale MSE, 0, 1), and 0 without a prediction. The
// squares are float32 as numpy's are; their sum is not.
func heatmapReward(name string, predicted *reward.Map, truth truthMap, scale float64) (float64, error) {
	if predicted == nil {
		return 0, nil
	}
	if err := checkMap("the predicted "+name, *predicted); err != nil {
		return 0, err
	}
	var sum float64
	for i, p := range resize(*predicted) {
		d := p - truth.data[i]
		sum += float64(d * d)
	}
	return 1 - min(1, scale*sum/(Side*Side)), nil
}

// checkMap fails unless m is a map of finite values.
func checkMap(name string, m reward.Map) error {
	if m.Height < 1 || m.Width < 1 || len(m.Data) != m.Height*m.Width {
		return fmt.Errorf("rft: %s map is %dx%d with %d values", name, m.Height, m.Width, len(m.Data))
	}
	for i, v := range m.Data {
		if v-v != 0 { // NaN or infinite
			return fmt.Errorf("rft: %s map is %v at row %d, column %d", name, v, i/m.Width, i%m.Width)
		}
	}
	return nil
}
