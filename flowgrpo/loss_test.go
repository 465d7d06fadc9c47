package flowgrpo

import (
	"fmt"
	"math"
	"testing"

	"github.com/denseflow/densereward/internal/numtest"
)

// variant is a loss of the reference with what it is taken of.
func variant[T Float](t *testing.T, c lossCase, name string) (Loss, *Batch[T]) {
	t.Helper()
	batch := &Batch[T]{
		Shape:         latentsOf(c.Shape),
		Steps:         stepsAt(caseSchedule(), c.StepIndex, SDE, c.NoiseLevel),
		Sample:        convert[T](c.Sample),
		PrevSample:    convert[T](c.PrevSample),
		ModelOutput:   convert[T](c.ModelOutput),
		OldLogProbMap: convert[T](c.OldLogProbMap),
	}
	var loss Loss
	switch name {
	case "flowgrpo":
		loss = FlowGRPO(c.ClipRange, c.KLBeta)
		loss.AdvantageClip = c.AdvClipMax
		batch.Advantages = c.Advantages
	case "denseflow_code":
		loss = DenseFlowGRPO(c.ClipRange, c.KLBeta)
		loss.AdvantageClip = c.AdvClipMax
		batch.Advantages = c.Advantages
		for _, h := range c.Heatmap {
			batch.Weight = append(batch.Weight, T(1-h))
		}
	case "map_direct", "map_detached": // the reference clips no advantage here
		loss = BoxFlowGRPO(c.ClipRange, 0)
		batch.AdvantageMap = convert[T](c.AdvantageMap)
		if name == "map_detached" {
			loss.Ratio = DetachedRatio
		}
	default:
		t.Fatalf("unknown variant %q", name)
	}
	if loss.KLBeta != 0 { // the reference computes no KL for a beta of 0
		batch.RefModelOutput = convert[T](c.RefModelOutput)
	}
	return loss, batch
}

func allResults[T Float](shape Shape) *Results[T] {
	return &Results[T]{
		LogProb:         make([]float64, shape.Batch),
		LogProbMap:      make([]T, shape.MapLen()),
		ImageRatio:      make([]float64, shape.Batch),
		RatioMap:        make([]T, shape.MapLen()),
		GradLogProbMap:  make([]T, shape.MapLen()),
		GradModelOutput: make([]T, shape.Len()),
	}
}

// packedBatch is the same batch with packed latents.
func packedBatch[T Float](b *Batch[T]) *Batch[T] {
	p := *b
	p.Shape = packed(b.Shape)
	p.Sample, p.PrevSample, p.ModelOutput = pack(b.Sample, b.Shape), pack(b.PrevSample, b.Shape), pack(b.ModelOutput, b.Shape)
	if b.RefModelOutput != nil {
		p.RefModelOutput = pack(b.RefModelOutput, b.Shape)
	}
	return &p
}

// lossTolerance is what the numbers of a loss are held to.
type lossTolerance struct {
	numtest.Tolerance
	// inputs is set when latents were rounded to float32 on their way in. A
	// rounding moves x_{t-1} by up to 1e-5 of its standard deviation at the last
	// step, and with it, by so much of the usual distance from the mean, a
	// gradient that happens to be near zero, and log p - log p_old, of which
	// ApproxKL is the square. Both are held to Rel of their scale.
	inputs bool
}

func (tol lossTolerance) approxKL(want float64) numtest.Tolerance {
	if tol.inputs {
		tol.Abs = tol.Rel * math.Sqrt(2*want)
	}
	return tol.Tolerance
}

func (tol lossTolerance) gradient(want []float64) numtest.Tolerance {
	if tol.inputs {
		for _, g := range want {
			tol.Abs = max(tol.Abs, tol.Rel*math.Abs(g))
		}
	}
	return tol.Tolerance
}

func TestLossesEqualTheReference(t *testing.T) {
	for i, c := range readCases(t).Losses {
		for name := range c.Variants {
			t.Run(fmt.Sprintf("case %d %s", i, name), func(t *testing.T) {
				checkLoss[float64](t, c, name, lossTolerance{Tolerance: exact64})
			})
			t.Run(fmt.Sprintf("case %d %s float32", i, name), func(t *testing.T) {
				checkLoss[float32](t, c, name, lossTolerance{Tolerance: exact32, inputs: true})
			})
		}
	}
}

func checkLoss[T Float](t *testing.T, c lossCase, name string, tol lossTolerance) {
	t.Helper()
	want := c.Variants[name]
	loss, batch := variant[T](t, c, name)
	got := allResults[T](batch.Shape)
	d, err := NewFusedLoss[T](loss, 0).Evaluate(batch, got)
	if err != nil {
		t.Fatal(err)
	}
	checkVariant(t, batch.Shape, d, got, want, tol)

	p := packedBatch(batch)
	got = allResults[T](p.Shape)
	d, err = NewFusedLoss[T](loss, 0).Evaluate(p, got)
	if err != nil {
		t.Fatal(err)
	}
	got.GradModelOutput = unpack(got.GradModelOutput, p.Shape)
	checkVariant(t, batch.Shape, d, got, want, tol)
}

// unpack turns (B,L,C) into (B,C,L).
func unpack[T Float](values []T, shape Shape) []T {
	return pack(values, Shape{Batch: shape.Batch, Channels: shape.Locations, Locations: shape.Channels})
}

func checkVariant[T Float](t *testing.T, shape Shape, d Diagnostics, got *Results[T], want lossVariant, tol lossTolerance) {
	t.Helper()
	numtest.Value(t, "loss", d.Loss, want.Loss, tol.Tolerance)
	numtest.Value(t, "policy loss", d.PolicyLoss, want.PolicyLoss, tol.Tolerance)
	if want.RatioMap != nil {
		numtest.Slice(t, "ratio map", got.RatioMap, want.RatioMap, tol.Tolerance)
	}
	if want.RatioMean != nil {
		numtest.Slice(t, "image ratios", got.ImageRatio, want.RatioMean, tol.Tolerance)
	}
	if want.KLLoss != nil {
		numtest.Value(t, "KL", d.KL, *want.KLLoss, tol.Tolerance)
	}
	if want.ApproxKL != nil {
		numtest.Value(t, "approximate KL", d.ApproxKL, *want.ApproxKL, tol.approxKL(*want.ApproxKL))
		numtest.Value(t, "clip fraction", d.ClipFrac, *want.ClipFrac, tol.Tolerance)
		numtest.Value(t, "clip fraction above", d.ClipFracGtOne, *want.ClipFracGtOne, tol.Tolerance)
		numtest.Value(t, "clip fraction below", d.ClipFracLtOne, *want.ClipFracLtOne, tol.Tolerance)
	}
	size := shape.Channels * shape.Locations
	for image := range shape.Batch {
		grad, wantGrad := got.GradModelOutput[image*size:(image+1)*size], want.GradModelOutput[image*size:(image+1)*size]
		numtest.Slice(t, fmt.Sprintf("gradient of model output %d", image), grad, wantGrad, tol.gradient(wantGrad))
	}
}

// What float32 latents cost beyond the rounding of the inputs: one rounding of
// each result, and one of a distance that becomes a gradient.
func TestFloat32LossesEqualFloat64OnTheSameInputs(t *testing.T) {
	tol := numtest.Tolerance{Rel: 2.5e-7}
	for i, c := range readCases(t).Losses {
		for name := range c.Variants {
			t.Run(fmt.Sprintf("case %d %s", i, name), func(t *testing.T) {
				loss, single := variant[float32](t, c, name)
				double := widen(single)
				got, want := allResults[float32](single.Shape), allResults[float64](single.Shape)
				d, err := NewFusedLoss[float32](loss, 0).Evaluate(single, got)
				if err != nil {
					t.Fatal(err)
				}
				wantD, err := NewFusedLoss[float64](loss, 0).Evaluate(double, want)
				if err != nil {
					t.Fatal(err)
				}
				if d != wantD {
					t.Errorf("diagnostics %+v, want %+v: they are float64 throughout", d, wantD)
				}
				numtest.Slice(t, "log-prob map", got.LogProbMap, want.LogProbMap, tol)
				numtest.Slice(t, "ratio map", got.RatioMap, want.RatioMap, tol)
				numtest.Slice(t, "gradient of the log-prob map", got.GradLogProbMap, want.GradLogProbMap, tol)
				// With KL two rounded terms are added, which may cancel.
				sum := tol
				sum.Abs = 1e-10
				numtest.Slice(t, "gradient of the model output", got.GradModelOutput, want.GradModelOutput, sum)
			})
		}
	}
}

// widen is the batch in float64.
func widen(b *Batch[float32]) *Batch[float64] {
	wide := func(values []float32) []float64 {
		if values == nil {
			return nil
		}
		out := make([]float64, len(values))
		for i, v := range values {
			out[i] = float64(v)
		}
		return out
	}
	return &Batch[float64]{
		Shape: b.Shape, Steps: b.Steps, OldLogProb: b.OldLogProb,
		Sample: wide(b.Sample), PrevSample: wide(b.PrevSample), ModelOutput: wide(b.ModelOutput),
		RefModelOutput: wide(b.RefModelOutput), OldLogProbMap: wide(b.OldLogProbMap),
		Credit: Credit[float64]{Advantages: b.Advantages, AdvantageMap: wide(b.AdvantageMap), Weight: wide(b.Weight)},
	}
}
