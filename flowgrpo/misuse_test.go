package flowgrpo

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestWrongShapesPanic(t *testing.T) {
	two, four := make([]float64, 2), make([]float64, 4)
	shape := Latents(1, 2, 1, 2)
	ode := []Step{caseSchedule().Step(0, ODE, 0)}
	sde := []Step{caseSchedule().Step(0, SDE, 0.7)}
	rng := rand.New(rand.NewPCG(0, 0))
	tests := []struct {
		name string
		call func()
		want string
	}{
		{"an empty shape", func() { StepMean(four, Latents(1, 0, 1, 2), ode, four, four) }, "flowgrpo: shape (1,0,2) is empty"},
		{"too few steps", func() { StepMean(four, shape, nil, four, four) }, "flowgrpo: 0 steps for a batch of 1"},
		{"a short model output", func() { StepMean(four, shape, ode, two, four) }, "flowgrpo: model output has 2 values, shape (1,2,2) needs 4"},
		{"a short sample", func() { StepMean(four, shape, ode, four, two) }, "flowgrpo: sample has 2 values, shape (1,2,2) needs 4"},
		{"a short mean", func() { StepMean(two, shape, ode, four, four) }, "flowgrpo: mean has 2 values, shape (1,2,2) needs 4"},
		{"a short result", func() { SampleStep(two, shape, ode, four, four, nil) }, "flowgrpo: prev sample has 2 values, shape (1,2,2) needs 4"},
		{"noise without a source", func() { SampleStep(four, shape, sde, four, four, nil) }, "flowgrpo: no source of noise for image 0"},
		{"a short log-prob map", func() { LogProb(nil, four[:3], shape, ode, four, four, four) },
			"flowgrpo: log-prob map has 3 values, shape (1,2,2) needs 2"},
		{"packed latents say their dimensions", func() { LogProb(two, nil, PackedLatents(1, 2, 2), ode, four, four, four) },
			"flowgrpo: log-prob has 2 values, shape (1,2,2) needs 1"},
		{"a step outside the schedule", func() { caseSchedule().Step(10, SDE, 1) }, "flowgrpo: step 10 of a schedule of 10 steps"},
		{"a negative noise level", func() { caseSchedule().Step(0, SDE, -1) }, "flowgrpo: noise level -1"},
		{"a noise level that is NaN", func() { caseSchedule().Step(0, CPS, math.NaN()) }, "flowgrpo: noise level NaN"},
		{"an unknown method", func() { caseSchedule().Step(0, 7, 1) }, "flowgrpo: unknown method Method(7)"},
		{"a second sigma of 1", func() { Schedule{Sigmas: []float32{1, 1, 0}, Timesteps: []float32{1, 1}}.Step(0, SDE, 1) },
			"flowgrpo: an SDE step at sigma 1"},
		{"rewards that do not divide", func() { _ = MapAdvantages(two, two, 3, Groups{{0}}, Normalization{}) },
			"flowgrpo: 2 rewards do not divide into maps of 3 locations"},
		{"no locations", func() { _ = MapAdvantages(two, two, 0, Groups{{0}}, Normalization{}) },
			"flowgrpo: 2 rewards do not divide into maps of 0 locations"},
		{"a short destination", func() { _ = GroupAdvantages(two, four, Groups{{0}}, Normalization{}) }, "flowgrpo: dst has 2 values for 4 rewards"},
		{"a group that names a stranger", func() { _ = GroupAdvantages(two, two, Groups{{0, 2}}, Normalization{}) },
			"flowgrpo: group 0 names sample 2 of 2"},
		{"two rewards for SFT", func() { _ = NewStatTracker(false).Update(two, SFT, []string{"a"}, two) },
			"flowgrpo: advantages of type sft need one reward an image, not 2"},
		{"rewards that do not fit their prompts", func() { _ = NewStatTracker(false).Update(four, GRPO, []string{"a", "b", "c"}, four) },
			"flowgrpo: 4 rewards for 3 prompts"},
		{"rewards without prompts", func() { _ = NewStatTracker(false).Update(two, GRPO, nil, two) }, "flowgrpo: 2 rewards without prompts"},
		{"a short destination of a tracker", func() { _ = NewStatTracker(false).Update(two, GRPO, []string{"a"}, four) },
			"flowgrpo: dst has 2 values for 4 rewards"},
		{"columns that change", func() {
			tracker := NewStatTracker(false)
			_ = tracker.Update(two, GRPO, []string{"a"}, two)
			_ = tracker.Update(two, GRPO, []string{"a", "b"}, two)
		}, "flowgrpo: 1 rewards an image, 2 in earlier calls"},
		{"embeddings that do not divide", func() { _ = NewStatTracker(false).UpdateGARDO(two, []string{"a", "b"}, two, make([]float64, 3)) },
			"flowgrpo: 3 embedding values for 2 prompts"},
		{"a mask that does not divide", func() { _, _ = TrainingMask(make([]bool, 3), four, 1, rng) },
			"flowgrpo: 4 advantages for a mask of 3 samples"},
		{"no batches", func() { _, _ = TrainingMask(make([]bool, 2), four, 0, rng) }, "flowgrpo: 0 batches"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { expectPanic(t, test.want, test.call) })
	}
}

func TestIncompleteBatchesPanic(t *testing.T) {
	direct := Loss{Ratio: DirectRatio, ClipRange: 0.1}
	tests := []struct {
		name  string
		loss  Loss
		spoil func(b *Batch[float64], r *Results[float64])
		want  string
	}{
		{"a short previous sample", direct, func(b *Batch[float64], _ *Results[float64]) { b.PrevSample = b.PrevSample[1:] },
			"flowgrpo: prev sample has 15 values, shape (2,2,4) needs 16"},
		{"a short weight", direct, func(b *Batch[float64], _ *Results[float64]) { b.Weight = b.Weight[:4] },
			"flowgrpo: weight has 4 values, shape (2,2,4) needs 8"},
		{"a KL term without a reference", Loss{Ratio: DirectRatio, KLBeta: 1}, func(b *Batch[float64], _ *Results[float64]) { b.RefModelOutput = nil },
			"flowgrpo: a KL beta without a ref model output"},
		{"a direct ratio without an old map", direct, func(b *Batch[float64], _ *Results[float64]) {
			b.OldLogProb, b.OldLogProbMap = make([]float64, 2), nil
		}, "flowgrpo: a direct ratio without an old log-prob map"},
		{"a ratio without anything old", Loss{Ratio: DetachedRatio}, func(b *Batch[float64], _ *Results[float64]) { b.OldLogProbMap = nil },
			"flowgrpo: a ratio without an old log-prob"},
		{"no advantages", direct, func(b *Batch[float64], _ *Results[float64]) { b.AdvantageMap = nil },
			"flowgrpo: a loss needs either advantages or an advantage map"},
		{"both advantages", direct, func(b *Batch[float64], _ *Results[float64]) { b.Advantages = make([]float64, 2) },
			"flowgrpo: a loss needs either advantages or an advantage map"},
		{"an image ratio with maps", Loss{Ratio: ImageRatio}, func(*Batch[float64], *Results[float64]) {},
			"flowgrpo: an image ratio takes neither an advantage map nor a weight"},
		{"a short buffer", direct, func(_ *Batch[float64], r *Results[float64]) { r.GradModelOutput = r.GradModelOutput[:8] },
			"flowgrpo: gradient of the model output has 8 values, shape (2,2,4) needs 16"},
		{"an unknown ratio", Loss{Ratio: 3}, nil, "flowgrpo: unknown ratio Ratio(3)"},
		{"a negative clip range", Loss{ClipRange: -1}, nil, "flowgrpo: clip range -1 must be at least 0 and finite"},
		{"an infinite advantage clip", Loss{AdvantageClip: math.Inf(1)}, nil, "flowgrpo: advantage clip +Inf must be at least 0 and finite"},
		{"a KL beta that is NaN", Loss{KLBeta: math.NaN()}, nil, "flowgrpo: KL beta NaN must be at least 0 and finite"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			expectPanic(t, test.want, func() {
				batch := fullBatch(Latents(2, 2, 2, 2))
				results := allResults[float64](batch.Shape)
				fused := NewFusedLoss[float64](test.loss, 1)
				test.spoil(batch, results)
				_, _ = fused.Evaluate(batch, results)
			})
		})
	}
}

func TestEvaluateRefusesRatiosThatOverflow(t *testing.T) {
	const (
		ofImage     = "flowgrpo: ratio of image 1 is +Inf: its log-probability rose by "
		ofLocations = "flowgrpo: mean ratio of the locations of image 1 is "
	)
	nan := math.NaN()
	tests := []struct {
		name   string
		ratios []Ratio
		oldMap []float64 // of image 1
		old    []float64 // of both images; nil takes the means of the map
		want   string
	}{
		{"infinite everywhere", []Ratio{ImageRatio, DetachedRatio, DirectRatio}, []float64{-1000, -1000, -1000, -1000}, nil, ofImage},
		{"infinite at one location", []Ratio{DirectRatio}, []float64{0, 0, 0, -1000}, nil, ofLocations + "+Inf"},
		{"NaN at one location", []Ratio{DirectRatio}, []float64{0, 0, 0, nan}, []float64{0, 0}, ofLocations + "NaN"},
	}
	for _, test := range tests {
		for _, ratio := range test.ratios {
			for _, advantage := range []float64{1, -1, 0} {
				batch := fullBatch(Latents(2, 1, 2, 2))
				batch.Advantages, batch.AdvantageMap, batch.Weight = []float64{1, advantage}, nil, nil
				batch.OldLogProb = test.old
				copy(batch.OldLogProbMap[4:], test.oldMap)
				d, err := NewFusedLoss[float64](Loss{Ratio: ratio, ClipRange: 0.1}, 1).Evaluate(batch, &Results[float64]{})
				if err == nil || !strings.HasPrefix(err.Error(), test.want) {
					t.Errorf("%s, %v ratio, advantage %v: %+v, error %v, want %q", test.name, ratio, advantage, d, err, test.want)
				}
			}
		}
	}
}
