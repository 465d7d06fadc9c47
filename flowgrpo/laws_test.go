package flowgrpo

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/denseflow/densereward/internal/numtest"
)

// evaluate runs a loss with every buffer.
func evaluate(t *testing.T, loss Loss, batch *Batch[float64]) (Diagnostics, *Results[float64]) {
	t.Helper()
	results := allResults[float64](batch.Shape)
	d, err := NewFusedLoss[float64](loss, 0).Evaluate(batch, results)
	if err != nil {
		t.Fatal(err)
	}
	return d, results
}

// lawShapes are the shapes that each law is tried on.
func lawShapes() []Shape { return []Shape{Latents(3, 4, 5, 6), PackedLatents(4, 7, 3)} }

func TestDenseFlowWithAZeroHeatmapIsFlowGRPO(t *testing.T) {
	// The two differ by the 1e-10 in the detached ratio's denominator, over a p
	// that is seldom below a tenth.
	tol := numtest.Tolerance{Abs: 1e-12, Rel: 1e-8}
	for _, shape := range lawShapes() {
		for _, clipRange := range []float64{1e-4, 0.3} {
			t.Run(fmt.Sprintf("%v clip %v", shape, clipRange), func(t *testing.T) {
				flow := FlowGRPO(clipRange, 0.04)
				batch := randomBatch(rand.New(rand.NewPCG(41, 1)), shape, flow, SDE)
				want, wantResults := evaluate(t, flow, batch)

				batch.Weight = make([]float64, shape.MapLen())
				for l := range batch.Weight {
					batch.Weight[l] = 1 - 0
				}
				got, gotResults := evaluate(t, DenseFlowGRPO(clipRange, 0.04), batch)
				numtest.Value(t, "loss", got.Loss, want.Loss, tol)
				numtest.Value(t, "KL", got.KL, want.KL, numtest.Tolerance{})
				numtest.Value(t, "approximate KL", got.ApproxKL, want.ApproxKL, numtest.Tolerance{})
				numtest.Value(t, "clip fraction", got.ClipFrac, want.ClipFrac, numtest.Tolerance{})
				numtest.Slice(t, "gradient of the log-prob map", gotResults.GradLogProbMap, wantResults.GradLogProbMap, tol)
				numtest.Slice(t, "gradient of the model output", gotResults.GradModelOutput, wantResults.GradModelOutput, tol)
			})
		}
	}
}

func TestAllRatiosAgreeAtTheFirstInnerStep(t *testing.T) {
	tol := numtest.Tolerance{Abs: 1e-12, Rel: 1e-8}
	for _, shape := range lawShapes() {
		batch := randomBatch(rand.New(rand.NewPCG(42, 1)), shape, BoxFlowGRPO(0.1, 0), SDE)
		batch.Advantages, batch.Weight = nil, nil
		batch.AdvantageMap = numtest.Normals(rand.New(rand.NewPCG(42, 2)), shape.MapLen())
		batch.OldLogProbMap = naiveLogProbMap(batch) // the policy has not moved yet
		direct, directResults := evaluate(t, Loss{Ratio: DirectRatio, ClipRange: 1e-4}, batch)
		detached, detachedResults := evaluate(t, Loss{Ratio: DetachedRatio, ClipRange: 1e-4}, batch)
		for l, ratio := range directResults.RatioMap {
			numtest.Value(t, "direct ratio", ratio, 1, tol)
			numtest.Value(t, "detached ratio", detachedResults.RatioMap[l], 1, tol)
		}
		numtest.Value(t, "loss", detached.Loss, direct.Loss, tol)
		numtest.Value(t, "approximate KL", direct.ApproxKL, 0, numtest.Tolerance{Abs: 1e-20})
		numtest.Slice(t, "gradient", detachedResults.GradModelOutput, directResults.GradModelOutput, tol)
	}
}

// At the first inner step the gradient of the policy loss is the plain policy
// gradient, -A grad log p.
func TestTheFirstGradientIsThePolicyGradient(t *testing.T) {
	shape := Latents(2, 3, 2, 2)
	batch := randomBatch(rand.New(rand.NewPCG(43, 1)), shape, FlowGRPO(0.1, 0), SDE)
	batch.OldLogProb, batch.OldLogProbMap = nil, naiveLogProbMap(batch)
	_, results := evaluate(t, Loss{Ratio: ImageRatio, ClipRange: 0.1}, batch)
	for l, slope := range results.GradLogProbMap {
		want := -batch.Advantages[l/shape.Locations] / float64(shape.MapLen())
		numtest.Value(t, "slope", slope, want, numtest.Tolerance{Rel: 1e-12})
	}
}

func TestLossesScaleWithTheirAdvantages(t *testing.T) {
	tol := numtest.Tolerance{Abs: 1e-14, Rel: 1e-12}
	for _, shape := range lawShapes() {
		eachLoss(t, func(t *testing.T, rng *rand.Rand, loss Loss, method Method) {
			loss.AdvantageClip, loss.KLBeta = 0, 0
			batch := randomBatch(rng, shape, loss, method)
			want, wantResults := evaluate(t, loss, batch)
			scaled := *batch
			scaled.Advantages, scaled.AdvantageMap = times(3, batch.Advantages), times(3, batch.AdvantageMap)
			got, gotResults := evaluate(t, loss, &scaled)
			numtest.Value(t, "loss", got.Loss, 3*want.Loss, tol)
			numtest.Slice(t, "gradient", gotResults.GradModelOutput, times(3, wantResults.GradModelOutput), tol)
		})
	}
}

func times(factor float64, values []float64) []float64 {
	if values == nil {
		return nil
	}
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = factor * v
	}
	return out
}

// Images, channels and locations have no order.
func TestLossesDoNotDependOnTheOrder(t *testing.T) {
	tol := numtest.Tolerance{Abs: 1e-13, Rel: 1e-11}
	eachLoss(t, func(t *testing.T, rng *rand.Rand, loss Loss, method Method) {
		shape := Latents(3, 4, 5, 6)
		batch := randomBatch(rng, shape, loss, method)
		want, wantResults := evaluate(t, loss, batch)
		images, channels, locations := rng.Perm(shape.Batch), rng.Perm(shape.Channels), rng.Perm(shape.Locations)
		latents := func(values []float64) []float64 {
			return permute(values, shape.Channels, shape.Locations, images, channels, locations)
		}
		maps := func(values []float64) []float64 {
			return permute(values, 1, shape.Locations, images, []int{0}, locations)
		}
		perImage := func(values []float64) []float64 { return permute(values, 1, 1, images, []int{0}, []int{0}) }
		moved := &Batch[float64]{
			Shape: shape, Sample: latents(batch.Sample), PrevSample: latents(batch.PrevSample),
			ModelOutput: latents(batch.ModelOutput), RefModelOutput: latents(batch.RefModelOutput),
			OldLogProb: perImage(batch.OldLogProb), OldLogProbMap: maps(batch.OldLogProbMap),
			Credit: Credit[float64]{
				Advantages: perImage(batch.Advantages), AdvantageMap: maps(batch.AdvantageMap), Weight: maps(batch.Weight),
				StepWeights: perImage(batch.StepWeights),
			},
		}
		for _, image := range images {
			moved.Steps = append(moved.Steps, batch.Steps[image])
		}
		got, gotResults := evaluate(t, loss, moved)
		compareDiagnostics(t, got, want, tol)
		numtest.Slice(t, "gradient", gotResults.GradModelOutput, latents(wantResults.GradModelOutput), tol)
		numtest.Slice(t, "gradient of the log-prob map", gotResults.GradLogProbMap, maps(wantResults.GradLogProbMap), tol)
	})
}

// permute reorders the three axes of a tensor.
func permute(values []float64, channels, locations int, image, channel, location []int) []float64 {
	if values == nil {
		return nil
	}
	var out []float64
	for _, i := range image {
		for _, c := range channel {
			for _, l := range location {
				out = append(out, values[(i*channels+c)*locations+l])
			}
		}
	}
	return out
}

// A location whose weight is 0 teaches nothing, and the loss of a batch is the
// mean of the losses of its images.
func TestWeightsAndImagesAreIndependent(t *testing.T) {
	shape := Latents(3, 2, 3, 4)
	loss := Loss{Ratio: DirectRatio, ClipRange: 0.2, KLBeta: 0.04}
	batch := fullBatch(shape)
	batch.Weight[5] = 0
	want, results := evaluate(t, loss, batch)
	if results.GradLogProbMap[5] != 0 {
		t.Errorf("slope %v where the weight is 0", results.GradLogProbMap[5])
	}
	var sum float64
	for image := range shape.Batch {
		d, one := evaluate(t, loss, only(batch, image))
		sum += d.Loss / float64(shape.Batch)
		size := shape.Channels * shape.Locations
		numtest.Slice(t, "gradient", times(1.0/3, one.GradModelOutput), results.GradModelOutput[image*size:(image+1)*size],
			numtest.Tolerance{Abs: 1e-14, Rel: 1e-12})
	}
	numtest.Value(t, "loss", sum, want.Loss, exact64)
}

// Finite input gives finite numbers or an error, however large it is.
func TestNoFiniteInputGivesNaN(t *testing.T) {
	wild := rand.New(rand.NewPCG(44, 1))
	eachLoss(t, func(t *testing.T, rng *rand.Rand, loss Loss, method Method) {
		for range 30 {
			batch := randomBatch(rng, Latents(2, 2, 3, 3), loss, method)
			numtest.Wild(wild,
				&batch.Sample, &batch.PrevSample, &batch.ModelOutput, &batch.RefModelOutput, &batch.OldLogProb, &batch.OldLogProbMap,
				&batch.Advantages, &batch.AdvantageMap, &batch.Weight,
			)
			results := allResults[float64](batch.Shape)
			d, err := NewFusedLoss[float64](loss, 1).Evaluate(batch, results)
			if err != nil {
				continue
			}
			for _, v := range append(results.GradModelOutput, d.Loss, d.PolicyLoss, d.KL, d.RatioMean, d.RatioMin) {
				if math.IsNaN(v) || math.IsInf(v, 0) {
					t.Fatalf("%v without an error: %+v", v, d)
				}
			}
		}
	})
}

// A KL term is finite by itself and not times its beta.
func TestALossThatOverflowsIsAnError(t *testing.T) {
	eachLoss(t, func(t *testing.T, rng *rand.Rand, loss Loss, method Method) {
		loss.KLBeta = 1e300
		batch := randomBatch(rng, Latents(2, 2, 3, 3), loss, method)
		for i := range batch.RefModelOutput {
			batch.RefModelOutput[i] = 1e100
		}
		_, err := NewFusedLoss[float64](loss, 1).Evaluate(batch, &Results[float64]{})
		if err == nil || err.Error() != "flowgrpo: loss is +Inf" {
			t.Errorf("error %v", err)
		}
	})
}

// only is the batch of a single image.
func only(b *Batch[float64], image int) *Batch[float64] {
	latents := func(values []float64) []float64 {
		size := b.Shape.Channels * b.Shape.Locations
		return slices.Clone(values[image*size : (image+1)*size])
	}
	maps := func(values []float64) []float64 {
		return slices.Clone(values[image*b.Shape.Locations : (image+1)*b.Shape.Locations])
	}
	one := &Batch[float64]{
		Shape: b.Shape, Steps: b.Steps[image : image+1],
		Sample: latents(b.Sample), PrevSample: latents(b.PrevSample),
		ModelOutput: latents(b.ModelOutput), RefModelOutput: latents(b.RefModelOutput),
		OldLogProbMap: maps(b.OldLogProbMap), Credit: Credit[float64]{AdvantageMap: maps(b.AdvantageMap), Weight: maps(b.Weight)},
	}
	one.Shape.Batch = 1
	return one
}
