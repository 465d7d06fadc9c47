package flowgrpo

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/denseflow/densereward/flowgrpo/internal/goldens"
	"github.com/denseflow/densereward/internal/numtest"
)

func TestGDPOEqualsThePublicCode(t *testing.T) {
	c := goldens.Read(t).Advantages
	groups, kinds := GroupBy(c.Groups), len(c.Weights)
	rewards := make([][]float64, kinds)
	for k := range rewards {
		rewards[k] = columnOf(c.Rewards, kinds, k)
	}
	got := make([]float64, len(c.Groups))
	if err := GDPOAdvantages(got, rewards, c.Weights, 1, groups, GDPONormalization()); err != nil {
		t.Fatal(err)
	}
	numtest.Slice(t, "NVlabs", got, c.GDPOTRL, exact64)
	if err := GDPOAdvantages(got, rewards, c.Weights, 1, groups, Normalization{Floor: 1e-6}); err != nil {
		t.Fatal(err)
	}
	numtest.Slice(t, "Flow-Factory", got, c.GDPOFactory, exact64)
}

func TestGDPOLaws(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 1))
	const n, locations = 12, 5
	groups := GroupBy([]int{0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2})
	scalar, maps, weights := numtest.Normals(rng, n), numtest.Normals(rng, n*locations), []float64{1, 0.5}
	norm := GDPONormalization()
	advantages := func(rewards [][]float64, locations int, groups Groups) []float64 {
		t.Helper()
		got := make([]float64, n*locations)
		if err := GDPOAdvantages(got, rewards, weights[:len(rewards)], locations, groups, norm); err != nil {
			t.Fatal(err)
		}
		return got
	}
	spread := make([]float64, n*locations) // a map that is the same everywhere
	for i := range spread {
		spread[i] = scalar[i/locations]
	}
	want := advantages([][]float64{scalar, maps}, locations, groups)
	numtest.Slice(t, "a reward as a constant map", advantages([][]float64{spread, maps}, locations, groups), want, exact64)

	image := advantages([][]float64{scalar}, 1, groups)
	for i, a := range advantages([][]float64{spread}, locations, groups) {
		// The deviation over all locations divides by n L - 1 rather than n - 1.
		numtest.Value(t, "a constant map", a, image[i/locations], numtest.Tolerance{Rel: 0.05})
	}
	var sum float64
	for _, a := range want {
		sum += a
	}
	numtest.Value(t, "sum over the batch", sum, 0, numtest.Tolerance{Abs: 1e-10})

	norm.Epsilon = 0
	scaled := times(1000, maps)
	numtest.Slice(t, "one reward scaled", advantages([][]float64{scalar, scaled}, locations, groups), advantages([][]float64{scalar, maps}, locations, groups), numtest.Tolerance{Abs: 1e-10})

	order := rng.Perm(n)
	names := make([]int, n)
	for i, sample := range order {
		names[i] = sample / 4
	}
	moved := advantages([][]float64{permute(scalar, 1, 1, order, []int{0}, []int{0}), permute(maps, 1, locations, order, []int{0}, []int{0, 1, 2, 3, 4})}, locations, GroupBy(names))
	numtest.Slice(t, "samples permuted", moved, permute(advantages([][]float64{scalar, maps}, locations, groups), 1, locations, order, []int{0}, []int{0, 1, 2, 3, 4}), exact64)
}

func TestGDPORefusesBadRewards(t *testing.T) {
	groups := Groups{{0, 1}}
	for want, rewards := range map[string][][]float64{
		"reward 1 of 2": {{1, 2}, {1, math.NaN()}},
		"overflows":     {{1e308, -1e308}, {1, 2}},
	} {
		err := GDPOAdvantages(make([]float64, 2), rewards, []float64{1, 1}, 1, groups, GDPONormalization())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	equal := []float64{9, 9}
	if err := GDPOAdvantages(equal, [][]float64{{3, 3}}, []float64{1}, 1, groups, Normalization{}); err != nil || equal[0] != 0 || equal[1] != 0 {
		t.Errorf("equal rewards have advantages %v, %v", equal, err)
	}
}

// DenseGRPO published no code; that of TurningPoint-GRPO has the same gains.
func TestStepGainsEqualThePublicCode(t *testing.T) {
	c := goldens.Read(t).Advantages
	n := len(c.Groups)
	steps := len(c.Gains) / n
	got := make([]float64, len(c.Gains))
	if err := StepGains(got, c.LatentRewards, steps, 1); err != nil {
		t.Fatal(err)
	}
	numtest.Slice(t, "gains", got, c.Gains, exact64)
	if err := MapAdvantages(got, got, steps, GroupBy(c.Groups), FlowNormalization(false)); err != nil {
		t.Fatal(err)
	}
	numtest.Slice(t, "advantages", got, c.StepAdvantages, exact64)
}

func TestStepGainsAddUpToTheRolloutsGain(t *testing.T) {
	rng := rand.New(rand.NewPCG(22, 1))
	const n, steps, locations = 3, 4, 6
	rewards, gains := numtest.Normals(rng, n*(steps+1)*locations), make([]float64, n*steps*locations)
	if err := StepGains(gains, rewards, steps, locations); err != nil {
		t.Fatal(err)
	}
	for sample := range n {
		for l := range locations {
			var sum float64
			for s := range steps {
				sum += gains[(sample*steps+s)*locations+l]
			}
			first, last := rewards[sample*(steps+1)*locations+l], rewards[(sample*(steps+1)+steps)*locations+l]
			numtest.Value(t, "sum", sum, last-first, exact64)
		}
	}
	rewards[(steps+1)*locations+2*locations] = math.NaN()
	err := StepGains(gains, rewards, steps, locations)
	if err == nil || err.Error() != "flowgrpo: reward of sample 1 is NaN before step 2" {
		t.Errorf("error %v", err)
	}
}

func TestNoiseIsCalibratedByTheBalanceOfGains(t *testing.T) {
	psi := []float64{0.7, 0.7, 0.05}
	gains := []float64{1, -1, -1, -1, -1, -2, 1, -1, -3, -1, -1, -4} // (4,3)
	CalibrateNoise(psi, gains, 1, 0.1)
	numtest.Slice(t, "psi", psi, []float64{0.8, 0.6, 0}, exact64)
}

func TestNoiseWeightsEqualTempFlowsEquation(t *testing.T) {
	steps := stepsAt(caseSchedule(), []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, SDE, 0.7)
	weights := make([]float64, len(steps))
	if err := NoiseWeights(weights, steps); err != nil {
		t.Fatal(err)
	}
	numtest.Slice(t, "weights", weights, goldens.Read(t).Advantages.NoiseWeights, exact64)
	var sum float64
	for _, w := range weights {
		sum += w
	}
	numtest.Value(t, "mean", sum/float64(len(weights)), 1, exact64)
	if err := NoiseWeights(weights, stepsAt(caseSchedule(), make([]int, 10), ODE, 0)); err == nil {
		t.Error("steps without noise are accepted")
	}
}

// The public code multiplies by a constant instead, which for SD3's ten steps, of which
// the last has no noise worth training, is 2.25: the reciprocal of the mean to the digits
// that are written there.
func TestNoiseWeightsAreThePublishedConstantOnSD3sSchedule(t *testing.T) {
	steps := stepsAt(caseSchedule(), []int{0, 1, 2, 3, 4, 5, 6, 7, 8}, SDE, 0.7)
	weights := make([]float64, len(steps))
	if err := NoiseWeights(weights, steps); err != nil {
		t.Fatal(err)
	}
	for i, step := range steps {
		if constant := weights[i] / step.NoiseStd; math.Abs(constant-2.25) > 0.005 {
			t.Errorf("step %d: %.4f times its noise, want 2.25", i, constant)
		}
	}
}

// The public code multiplies by 2.25 std_dev_t sqrt(-dt) and takes no KL here.
func TestTempFlowEqualsThePublicCode(t *testing.T) {
	for i, c := range goldens.Read(t).Transitions {
		shape := latentsOf(c.Shape)
		batch := &Batch[float64]{
			Shape: shape, Steps: stepsAt(caseSchedule(), []int{c.Index, c.Index, c.Index, c.Index}, SDE, c.NoiseLevel),
			Sample: c.Sample, PrevSample: c.PrevSample, ModelOutput: c.ModelOutput, OldLogProb: make([]float64, shape.Batch),
			Credit: Credit[float64]{Advantages: c.Advantages},
		}
		LogProb(batch.OldLogProb, nil, shape, batch.Steps, c.OldModelOutput, c.Sample, c.PrevSample)
		for _, step := range batch.Steps {
			batch.StepWeights = append(batch.StepWeights, 2.25*step.NoiseStd)
		}
		loss := Loss{Ratio: ImageRatio, ClipRange: c.ClipRange, AdvantageClip: c.AdvClipMax}
		d, results := evaluate(t, loss, batch)
		numtest.Value(t, fmt.Sprintf("loss of case %d", i), d.Loss, c.TempFlow.Loss, exact64)
		numtest.Slice(t, fmt.Sprintf("gradient of case %d", i), results.GradModelOutput, c.TempFlow.Grad, exact64)
	}
}

func TestMasksAllocateTheAdvantage(t *testing.T) {
	advantages, mask := []float64{2, -1}, []float64{0, 1, 3, 0.5, 0.5, 0.5}
	got := make([]float64, 6)
	if err := MaskAdvantages(got, advantages, mask, false); err != nil {
		t.Fatal(err)
	}
	numtest.Slice(t, "plain", got, []float64{0, 2, 6, -0.5, -0.5, -0.5}, exact64)
	if err := MaskAdvantages(got, advantages, mask, true); err != nil {
		t.Fatal(err)
	}
	numtest.Slice(t, "normalized", got, []float64{0, 1.5, 4.5, -1, -1, -1}, exact64)
	for want, bad := range map[string][]float64{
		"mask of sample 1 is -1 at location 0":  {1, 1, -1, 1},
		"mask of sample 0 is NaN at location 1": {1, math.NaN(), 1, 1},
		"mask of sample 1 sums up to 0":         {1, 1, 0, 0},
	} {
		if err := MaskAdvantages(make([]float64, 4), advantages, bad, true); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// STAR published no code; star.py writes its abstract's words down a second time.
func TestSTAREqualsASecondWritingOfItsEquations(t *testing.T) {
	var c goldens.Star
	goldens.Decode(t, "star.json.gz", &c)
	shape := latentsOf(c.Shape)
	advantages := make([]float64, shape.Batch)
	if err := GroupAdvantages(advantages, c.Rewards, GroupBy(c.Groups), FlowNormalization(false)); err != nil {
		t.Fatal(err)
	}
	numtest.Slice(t, "advantages", advantages, c.Advantages, exact64)
	if len(c.Steps) == 0 {
		t.Fatal("no steps")
	}
	for _, s := range c.Steps {
		batch := Batch[float64]{Shape: shape, Sample: s.Sample, PrevSample: s.PrevSample, ModelOutput: s.ModelOutput, OldLogProbMap: make([]float64, shape.MapLen())}
		for range shape.Batch {
			batch.Steps = append(batch.Steps, caseSchedule().Step(s.Index, SDE, c.NoiseLevel))
		}
		LogProb(nil, batch.OldLogProbMap, shape, batch.Steps, s.OldModelOutput, s.Sample, s.PrevSample)
		for _, form := range []struct {
			name       string
			normalized bool
			want       goldens.StarResult
		}{{"plain", false, s.Plain}, {"normalized", true, s.Normalized}} {
			name := fmt.Sprintf("step %d, %s: ", s.Index, form.name)
			batch.AdvantageMap = make([]float64, shape.MapLen())
			if err := MaskAdvantages(batch.AdvantageMap, advantages, s.Mask, form.normalized); err != nil {
				t.Fatal(err)
			}
			numtest.Slice(t, name+"credit", batch.AdvantageMap, form.want.Credit, exact64)
			d, results := evaluate(t, BoxFlowGRPO(c.ClipRange, 0), &batch)
			numtest.Value(t, name+"loss", d.Loss, form.want.Loss, exact64)
			numtest.Slice(t, name+"gradient", results.GradModelOutput, form.want.Grad, exact64)
		}
	}
}

// A uniform mask is the image-level form, whichever way the advantage reaches the loss.
func TestAUniformMaskIsTheImageLevelForm(t *testing.T) {
	shape := Latents(3, 2, 3, 4)
	flow := FlowGRPO(0.1, 0.04)
	batch := randomBatch(rand.New(rand.NewPCG(23, 1)), shape, flow, SDE)
	want, wantResults := evaluate(t, flow, batch)
	masked, ones := *batch, make([]float64, shape.MapLen())
	for l := range ones {
		ones[l] = 1
	}
	clamped := make([]float64, shape.Batch)
	for i, a := range batch.Advantages {
		clamped[i] = clamp(a, flow.AdvantageClip)
	}
	masked.Advantages, masked.AdvantageMap = nil, make([]float64, shape.MapLen())
	if err := MaskAdvantages(masked.AdvantageMap, clamped, ones, true); err != nil {
		t.Fatal(err)
	}
	got, gotResults := evaluate(t, DenseFlowGRPO(0.1, 0.04), &masked)
	tol := numtest.Tolerance{Abs: 1e-12, Rel: 1e-8} // the 1e-10 in the detached ratio
	numtest.Value(t, "loss", got.Loss, want.Loss, tol)
	numtest.Slice(t, "gradient", gotResults.GradModelOutput, wantResults.GradModelOutput, tol)
}
