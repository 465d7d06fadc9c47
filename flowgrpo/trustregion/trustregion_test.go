package trustregion

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/denseflow/densereward/flowgrpo"
	"github.com/denseflow/densereward/flowgrpo/internal/goldens"
	"github.com/denseflow/densereward/internal/numtest"
)

// exact64 is how far float64 may differ from the public code: by the order of
// operations, and by what is lost where two log-probabilities are subtracted there.
var exact64 = numtest.Tolerance{Abs: 1e-12, Rel: 1e-9}

func ofCase(c goldens.Transition) *Batch[float64] {
	schedule := flowgrpo.NewSchedule(10, 3)
	b := &Batch[float64]{
		Shape:  flowgrpo.Latents(c.Shape[0], c.Shape[1], c.Shape[2], c.Shape[3]),
		Sample: c.Sample, PrevSample: c.PrevSample, ModelOutput: c.ModelOutput, OldModelOutput: c.OldModelOutput,
		RefModelOutput: c.RefModelOutput, Credit: flowgrpo.Credit[float64]{Advantages: c.Advantages},
	}
	for range c.Shape[0] {
		b.Steps = append(b.Steps, schedule.Step(c.Index, flowgrpo.SDE, c.NoiseLevel))
	}
	return b
}

func TestLossesEqualThePublicCode(t *testing.T) {
	for i, c := range goldens.Read(t).Transitions {
		guard := GRPOGuard{ClipRange: c.ClipRange, AdvantageClip: c.AdvClipMax}
		dppo := FlowDPPO{Threshold: c.Threshold}
		unscaled, withKL, unweighted := dppo, guard, guard
		unscaled.Unscaled, withKL.KLBeta, unweighted.Unweighted = true, c.KLBeta, true
		for _, test := range []struct {
			name string
			loss Loss
			want goldens.Result
		}{
			{"GRPO-Guard of flow_grpo", withKL, c.Guard},
			{"GRPO-Guard of verl-omni", guard, c.GuardVerl},
			{"GRPO-Guard of Flow-Factory", unweighted, c.GuardFactory},
			{"Flow-DPPO of UniRL", dppo, c.DPPO},
			{"Flow-DPPO of UniRL without its coefficient", unscaled, c.DPPOUnscaled},
		} {
			t.Run(fmt.Sprintf("case %d, %s", i, test.name), func(t *testing.T) {
				b := ofCase(c)
				grad := make([]float64, b.Shape.Len())
				d, err := Evaluate(test.loss, b, grad)
				if err != nil {
					t.Fatal(err)
				}
				numtest.Value(t, "loss", d.Loss, test.want.Loss, exact64)
				numtest.Slice(t, "gradient", grad, test.want.Grad, exact64)
				if test.name == "Flow-DPPO of UniRL" {
					numtest.Value(t, "masked", d.ClipFrac, test.want.Masked, exact64)
					numtest.Value(t, "ratio mean", d.RatioMean, test.want.RatioMean, exact64)
					numtest.Value(t, "divergence mean", d.DivergenceMean, test.want.DivergenceMean, exact64)
					numtest.Value(t, "divergence max", d.DivergenceMax, test.want.DivergenceMax, exact64)
				}
			})
		}
	}
}

// randomBatch draws transitions near those of the policy that sampled, so that some
// ratios are clipped or masked and some are not.
func randomBatch(rng *rand.Rand, shape flowgrpo.Shape, ratio flowgrpo.Ratio) *Batch[float64] {
	schedule := flowgrpo.NewSchedule(10, 3)
	b := &Batch[float64]{Shape: shape, Steps: make([]flowgrpo.Step, shape.Batch)}
	noise := make([]flowgrpo.NormSource, shape.Batch)
	for i := range b.Steps {
		b.Steps[i], noise[i] = schedule.Step(rng.IntN(9), flowgrpo.SDE, 0.7), rng
	}
	b.Sample, b.OldModelOutput = numtest.Normals(rng, shape.Len()), numtest.Normals(rng, shape.Len())
	b.PrevSample = make([]float64, shape.Len())
	flowgrpo.SampleStep(b.PrevSample, shape, b.Steps, b.OldModelOutput, b.Sample, noise)
	b.ModelOutput, b.RefModelOutput = numtest.Normals(rng, shape.Len()), numtest.Normals(rng, shape.Len())
	for i, old := range b.OldModelOutput {
		b.ModelOutput[i] = old + 0.1*b.ModelOutput[i]
		b.RefModelOutput[i] = old + 0.1*b.RefModelOutput[i]
	}
	if ratio == flowgrpo.ImageRatio {
		b.Advantages = numtest.Normals(rng, shape.Batch)
	} else {
		b.AdvantageMap, b.Weight = numtest.Normals(rng, shape.MapLen()), numtest.Normals(rng, shape.MapLen())
	}
	b.StepWeights = []float64{0.5, 1.5, 1}[:shape.Batch]
	return b
}

func shapes() []flowgrpo.Shape {
	return []flowgrpo.Shape{flowgrpo.Latents(3, 2, 2, 3), flowgrpo.PackedLatents(3, 5, 2)}
}

func losses(ratio flowgrpo.Ratio) map[string]Loss {
	return map[string]Loss{
		"guard": GRPOGuard{Ratio: ratio, ClipRange: 2e-3, AdvantageClip: 1.5, KLBeta: 0.3},
		"dppo":  FlowDPPO{Ratio: ratio, Threshold: 3e-5, KLBeta: 0.3},
	}
}

// each runs a test for every loss, ratio and layout.
func each(t *testing.T, test func(t *testing.T, loss Loss, b *Batch[float64])) {
	for _, ratio := range []flowgrpo.Ratio{flowgrpo.ImageRatio, flowgrpo.DetachedRatio, flowgrpo.DirectRatio} {
		for name, loss := range losses(ratio) {
			for _, shape := range shapes() {
				t.Run(fmt.Sprintf("%s, %v ratio, %v", name, ratio, shape), func(t *testing.T) {
					test(t, loss, randomBatch(rand.New(rand.NewPCG(5, uint64(ratio))), shape, ratio))
				})
			}
		}
	}
}

// naive is the loss as the papers write it: means, densities and exponentials, one
// after the other. frozen holds what a detached ratio does not differentiate.
func naive(loss Loss, b *Batch[float64], frozen []float64) (total float64, exponents []float64) {
	n := b.Shape.Locations
	mean, old := make([]float64, b.Shape.Len()), make([]float64, b.Shape.Len())
	flowgrpo.StepMean(mean, b.Shape, b.Steps, b.ModelOutput, b.Sample)
	flowgrpo.StepMean(old, b.Shape, b.Steps, b.OldModelOutput, b.Sample)
	exponents, divergences := make([]float64, b.Shape.MapLen()), make([]float64, b.Shape.MapLen())
	_, isGuard := loss.(GRPOGuard)
	for image, step := range b.Steps {
		s := step.StdDev * math.Sqrt(step.Sigma-step.SigmaPrev)
		for l := range n {
			for c := range b.Shape.Channels {
				i := b.Shape.Index(image, c, l)
				density := func(mean float64) float64 { return -(b.PrevSample[i] - mean) * (b.PrevSample[i] - mean) / (2 * s * s) }
				apart := (mean[i] - old[i]) * (mean[i] - old[i]) / (2 * s * s)
				ratio := density(mean[i]) - density(old[i])
				if isGuard {
					ratio = s * (ratio + apart)
				}
				exponents[image*n+l] += ratio / float64(b.Shape.Channels)
				divergences[image*n+l] += apart / float64(b.Shape.Channels)
			}
		}
	}
	if frozen == nil {
		frozen = exponents
	}
	return naivePolicy(loss, b, exponents, frozen, divergences) + naivePenalty(loss, b, mean), exponents
}

// naivePolicy is the loss without its penalty.
func naivePolicy(loss Loss, b *Batch[float64], exponents, frozen, divergences []float64) (total float64) {
	set, n := loss.settings(), b.Shape.Locations
	guard, isGuard := loss.(GRPOGuard)
	imageMean := func(values []float64, image int) (mean float64) {
		for _, v := range values[image*n : (image+1)*n] {
			mean += v / float64(n)
		}
		return mean
	}
	for image, step := range b.Steps {
		for l := range n {
			at := image*n + l
			divergence := imageMean(divergences, image)
			var ratio float64
			switch set.ratio {
			case flowgrpo.ImageRatio:
				ratio = math.Exp(imageMean(exponents, image))
			case flowgrpo.DetachedRatio:
				ratio = math.Exp(imageMean(frozen, image)) * math.Exp(exponents[at]) / math.Exp(frozen[at])
			case flowgrpo.DirectRatio:
				ratio, divergence = math.Exp(exponents[at]), divergences[at]
			}
			a := b.At(b.Shape, image, l, set.advantageClip)
			var policy float64
			if isGuard {
				policy = math.Max(-a*ratio, -a*math.Max(1-guard.ClipRange, math.Min(1+guard.ClipRange, ratio))) / (step.Sigma - step.SigmaPrev)
			} else if masked := divergence >= set.bound && (a > 0 && ratio > 1 || a < 0 && ratio < 1); !masked {
				policy = -a * ratio
			}
			total += policy / float64(b.Shape.MapLen())
		}
	}
	return total
}

// naivePenalty is the KL divergence from the reference model, weighted.
func naivePenalty(loss Loss, b *Batch[float64], mean []float64) (total float64) {
	ref := make([]float64, b.Shape.Len())
	flowgrpo.StepMean(ref, b.Shape, b.Steps, b.RefModelOutput, b.Sample)
	size := b.Shape.Channels * b.Shape.Locations
	for i := range mean {
		step := b.Steps[i/size]
		total += loss.settings().klBeta * (mean[i] - ref[i]) * (mean[i] - ref[i]) / (2 * step.StdDev * step.StdDev) / float64(len(mean))
	}
	return total
}

func TestLossesEqualTheNaiveOnesAndTheirCentralDifferences(t *testing.T) {
	const h = 1e-6
	each(t, func(t *testing.T, loss Loss, b *Batch[float64]) {
		grad := make([]float64, b.Shape.Len())
		d, err := Evaluate(loss, b, grad)
		if err != nil {
			t.Fatal(err)
		}
		want, frozen := naive(loss, b, nil)
		numtest.Value(t, "loss", d.Loss, want, exact64)
		if d.ClipFrac == 0 || d.ClipFrac == 1 {
			t.Errorf("%v of the ratios are clipped or masked: the case is one-sided", d.ClipFrac)
		}
		for i := range grad {
			kept := b.ModelOutput[i]
			b.ModelOutput[i] = kept + h
			above, _ := naive(loss, b, frozen)
			b.ModelOutput[i] = kept - h
			below, _ := naive(loss, b, frozen)
			b.ModelOutput[i] = kept
			// The error of a central difference is of the order of h^2 and of the
			// rounding of the loss over h.
			numtest.Value(t, fmt.Sprintf("gradient %d", i), grad[i], (above-below)/(2*h), numtest.Tolerance{Abs: 2e-8, Rel: 1e-5})
		}
	})
}

func TestAZeroMapIsTheImageLevelForm(t *testing.T) {
	for name, image := range losses(flowgrpo.ImageRatio) {
		for _, shape := range shapes() {
			t.Run(fmt.Sprintf("%s, %v", name, shape), func(t *testing.T) {
				b := randomBatch(rand.New(rand.NewPCG(4, 1)), shape, flowgrpo.ImageRatio)
				want, got := make([]float64, shape.Len()), make([]float64, shape.Len())
				wantD, err := Evaluate(image, b, want)
				if err != nil {
					t.Fatal(err)
				}
				b.Weight = make([]float64, shape.MapLen())
				for l := range b.Weight {
					b.Weight[l] = 1 - 0
				}
				d, err := Evaluate(losses(flowgrpo.DetachedRatio)[name], b, got)
				if err != nil {
					t.Fatal(err)
				}
				numtest.Value(t, "loss", d.Loss, wantD.Loss, exact64)
				numtest.Slice(t, "gradient", got, want, exact64)
			})
		}
	}
}

// Without a move, every ratio is 1 and the gradient that of the plain policy gradient:
// GRPO-Guard's by the image's scale.
func TestLossesScaleWithTheirAdvantages(t *testing.T) {
	each(t, func(t *testing.T, loss Loss, b *Batch[float64]) {
		switch l := loss.(type) {
		case GRPOGuard:
			l.AdvantageClip, l.KLBeta = 0, 0
			loss = l
		case FlowDPPO:
			l.KLBeta = 0
			loss = l
		}
		want, got := make([]float64, b.Shape.Len()), make([]float64, b.Shape.Len())
		wantD, err := Evaluate(loss, b, want)
		if err != nil {
			t.Fatal(err)
		}
		for i := range b.StepWeights {
			b.StepWeights[i] *= 3
		}
		d, err := Evaluate(loss, b, got)
		if err != nil {
			t.Fatal(err)
		}
		numtest.Value(t, "loss", d.Loss, 3*wantD.Loss, exact64)
		for i := range want {
			want[i] *= 3
		}
		numtest.Slice(t, "gradient", got, want, exact64)
	})
}

func TestLossesDoNotDependOnTheOrderOfTheirImages(t *testing.T) {
	each(t, func(t *testing.T, loss Loss, b *Batch[float64]) {
		want, err := Evaluate(loss, b, nil)
		if err != nil {
			t.Fatal(err)
		}
		moved := *b
		order := []int{2, 0, 1}
		moved.Steps = nil
		for _, i := range order {
			moved.Steps = append(moved.Steps, b.Steps[i])
		}
		for _, field := range []*[]float64{
			&moved.Sample, &moved.PrevSample, &moved.ModelOutput, &moved.OldModelOutput, &moved.RefModelOutput,
			&moved.Advantages, &moved.AdvantageMap, &moved.Weight, &moved.StepWeights,
		} {
			var out []float64
			size := len(*field) / len(order)
			for _, i := range order {
				out = append(out, (*field)[i*size:(i+1)*size]...)
			}
			*field = out
		}
		got, err := Evaluate(loss, &moved, nil)
		if err != nil {
			t.Fatal(err)
		}
		numtest.Value(t, "loss", got.Loss, want.Loss, exact64)
		numtest.Value(t, "clipped", got.ClipFrac, want.ClipFrac, exact64)
	})
}

func TestFloat32EqualsFloat64OnTheSameInputs(t *testing.T) {
	narrow := func(values []float64) []float32 {
		var out []float32
		for _, v := range values {
			out = append(out, float32(v))
		}
		return out
	}
	round := func(values []float64) {
		for i, v := range values {
			values[i] = float64(float32(v))
		}
	}
	each(t, func(t *testing.T, loss Loss, b *Batch[float64]) {
		for _, values := range [][]float64{b.Sample, b.PrevSample, b.ModelOutput, b.OldModelOutput, b.RefModelOutput, b.AdvantageMap, b.Weight} {
			round(values)
		}
		single := &Batch[float32]{
			Shape: b.Shape, Steps: b.Steps, Sample: narrow(b.Sample), PrevSample: narrow(b.PrevSample), ModelOutput: narrow(b.ModelOutput),
			OldModelOutput: narrow(b.OldModelOutput), RefModelOutput: narrow(b.RefModelOutput),
			Credit: flowgrpo.Credit[float32]{
				Advantages: b.Advantages, AdvantageMap: narrow(b.AdvantageMap), Weight: narrow(b.Weight), StepWeights: b.StepWeights,
			},
		}
		want, got := make([]float64, b.Shape.Len()), make([]float32, b.Shape.Len())
		wantD, err := Evaluate(loss, b, want)
		if err != nil {
			t.Fatal(err)
		}
		d, err := Evaluate(loss, single, got)
		if err != nil {
			t.Fatal(err)
		}
		if d != wantD {
			t.Errorf("diagnostics %+v, want %+v", d, wantD)
		}
		numtest.Slice(t, "gradient", got, want, numtest.Tolerance{Abs: 1e-12, Rel: 6e-8})
	})
}

func TestLossesRefuseWhatIsNotFinite(t *testing.T) {
	each(t, func(t *testing.T, loss Loss, b *Batch[float64]) {
		for name, spoil := range map[string]func(b *Batch[float64]){
			"NaN in the model output": func(b *Batch[float64]) { b.ModelOutput = replaced(b.ModelOutput, math.NaN()) },
			"infinity in x_{t-1}":     func(b *Batch[float64]) { b.PrevSample = replaced(b.PrevSample, math.Inf(1)) },
			"NaN in the reference":    func(b *Batch[float64]) { b.RefModelOutput = replaced(b.RefModelOutput, math.NaN()) },
			"a huge model output":     func(b *Batch[float64]) { b.ModelOutput = replaced(b.ModelOutput, 1e200) },
		} {
			bad := *b
			spoil(&bad)
			grad := make([]float64, b.Shape.Len())
			if _, err := Evaluate(loss, &bad, grad); err == nil || !strings.Contains(err.Error(), "image 2") {
				t.Errorf("%s: error %v, want one that names image 2", name, err)
			}
		}
	})
}

// Finite input gives finite numbers or an error, however large it is.
func TestNoFiniteInputGivesNaN(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 1))
	each(t, func(t *testing.T, loss Loss, b *Batch[float64]) {
		for range 30 {
			wild := *b
			numtest.Wild(rng,
				&wild.Sample, &wild.PrevSample, &wild.ModelOutput, &wild.OldModelOutput, &wild.RefModelOutput, &wild.Advantages, &wild.AdvantageMap, &wild.Weight,
			)
			grad := make([]float64, b.Shape.Len())
			d, err := Evaluate(loss, &wild, grad)
			if err != nil {
				continue
			}
			for _, v := range append(grad, d.Loss, d.RatioMean, d.DivergenceMean, d.DivergenceMax, d.KL) {
				if math.IsNaN(v) || math.IsInf(v, 0) && v != d.DivergenceMax && v != d.DivergenceMean {
					t.Fatalf("%v without an error: %+v", v, d)
				}
			}
		}
	})
}

// replaced is a copy whose last value is v.
func replaced(values []float64, v float64) []float64 {
	out := append([]float64(nil), values...)
	out[len(out)-1] = v
	return out
}

// A KL term is finite by itself and not times its beta.
func TestALossThatOverflowsIsAnError(t *testing.T) {
	for _, loss := range []Loss{GRPOGuard{Ratio: flowgrpo.DetachedRatio, ClipRange: 0.1, KLBeta: 1e300}, FlowDPPO{Ratio: flowgrpo.DetachedRatio, Threshold: 0.1, KLBeta: 1e300}} {
		b := randomBatch(rand.New(rand.NewPCG(5, 2)), flowgrpo.Latents(2, 3, 2, 2), flowgrpo.DetachedRatio)
		for i := range b.RefModelOutput {
			b.RefModelOutput[i] = 1e100
		}
		if _, err := Evaluate(loss, b, nil); err == nil || err.Error() != "trustregion: loss is +Inf" {
			t.Errorf("%T: error %v", loss, err)
		}
	}
}

func TestMisusePanics(t *testing.T) {
	shape := flowgrpo.Latents(1, 1, 1, 2)
	for name, call := range map[string]func(b *Batch[float64]){
		"a step of CPS": func(b *Batch[float64]) {
			b.Steps[0] = flowgrpo.NewSchedule(10, 3).Step(2, flowgrpo.CPS, 0.7)
			_, _ = Evaluate(GRPOGuard{}, b, nil)
		},
		"a negative clip range":    func(b *Batch[float64]) { _, _ = Evaluate(GRPOGuard{ClipRange: -1}, b, nil) },
		"a threshold that is NaN":  func(b *Batch[float64]) { _, _ = Evaluate(FlowDPPO{Threshold: math.NaN()}, b, nil) },
		"a short old model output": func(b *Batch[float64]) { b.OldModelOutput = nil; _, _ = Evaluate(FlowDPPO{}, b, nil) },
		"an image ratio of a map": func(b *Batch[float64]) {
			b.Weight = []float64{1, 1}
			_, _ = Evaluate(FlowDPPO{}, b, nil)
		},
		"KL without a reference": func(b *Batch[float64]) {
			b.RefModelOutput = nil
			_, _ = Evaluate(FlowDPPO{KLBeta: 1}, b, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			b := randomBatch(rand.New(rand.NewPCG(5, 1)), shape, flowgrpo.ImageRatio)
			call(b)
		})
	}
}
