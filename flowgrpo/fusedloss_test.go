package flowgrpo

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/denseflow/densereward/internal/numtest"
)

// randomBatch draws a batch that fits the loss: latents that are likely under the
// steps, and old log-probabilities near those of the model output, so that some
// ratios are clipped on either side and some are not.
func randomBatch(rng *rand.Rand, shape Shape, loss Loss, method Method) *Batch[float64] {
	schedule := caseSchedule()
	b := &Batch[float64]{Shape: shape, Steps: make([]Step, shape.Batch)}
	for i := range b.Steps {
		b.Steps[i] = schedule.Step(rng.IntN(schedule.Steps()), method, 0.7)
	}
	b.Sample, b.ModelOutput = numtest.Normals(rng, shape.Len()), numtest.Normals(rng, shape.Len())
	b.PrevSample = make([]float64, shape.Len())
	noise := make([]NormSource, shape.Batch)
	for i := range noise {
		noise[i] = rng
	}
	SampleStep(b.PrevSample, shape, b.Steps, b.ModelOutput, b.Sample, noise)
	if loss.KLBeta != 0 {
		b.RefModelOutput = numtest.Normals(rng, shape.Len())
	}
	b.OldLogProbMap = naiveLogProbMap(b)
	for l := range b.OldLogProbMap {
		b.OldLogProbMap[l] += 0.3 * rng.NormFloat64()
	}
	if loss.Ratio != ImageRatio && rng.IntN(2) == 0 {
		b.AdvantageMap = numtest.Normals(rng, shape.MapLen())
	} else {
		b.Advantages = numtest.Normals(rng, shape.Batch)
	}
	if loss.Ratio != ImageRatio && rng.IntN(2) == 0 {
		b.Weight = make([]float64, shape.MapLen())
		for l := range b.Weight {
			b.Weight[l] = rng.Float64()
		}
	}
	if rng.IntN(2) == 0 {
		b.StepWeights = make([]float64, shape.Batch)
		for i := range b.StepWeights {
			b.StepWeights[i] = 2 * rng.Float64()
		}
	}
	if loss.Ratio != DirectRatio && rng.IntN(2) == 0 {
		b.OldLogProb = naiveMeans(b.OldLogProbMap, shape)
		b.OldLogProbMap = nil
	}
	return b
}

func randomShape(rng *rand.Rand) Shape {
	if rng.IntN(2) == 0 {
		return PackedLatents(1+rng.IntN(4), 1+rng.IntN(12), 1+rng.IntN(6))
	}
	return Latents(1+rng.IntN(4), 1+rng.IntN(5), 1+rng.IntN(5), 1+rng.IntN(5))
}

// eachLoss runs a test for every ratio and method, with KL and without.
func eachLoss(t *testing.T, test func(t *testing.T, rng *rand.Rand, loss Loss, method Method)) {
	for _, ratio := range []Ratio{ImageRatio, DetachedRatio, DirectRatio} {
		for _, method := range []Method{SDE, CPS, ODE} {
			for _, beta := range []float64{0, 0.04} {
				t.Run(fmt.Sprintf("%v ratio, %v, beta %v", ratio, method, beta), func(t *testing.T) {
					loss := Loss{Ratio: ratio, ClipRange: 0.1, AdvantageClip: 1.5, KLBeta: beta}
					test(t, rand.New(rand.NewPCG(11, uint64(ratio))), loss, method)
				})
			}
		}
	}
}

func TestFusedLossEqualsTheNaiveLoss(t *testing.T) {
	tol := numtest.Tolerance{Abs: 1e-12, Rel: 1e-10}
	eachLoss(t, func(t *testing.T, rng *rand.Rand, loss Loss, method Method) {
		fusedLosses := []*FusedLoss[float64]{NewFusedLoss[float64](loss, 1), NewFusedLoss[float64](loss, 4)}
		for round := range 12 {
			shape := randomShape(rng)
			if round == 0 { // more than one block
				shape = Latents(2, 2, 70, 70)
			}
			batch := randomBatch(rng, shape, loss, method)
			wantD, want := naive(loss, batch, nil)
			for _, fused := range fusedLosses {
				got := allResults[float64](shape)
				d, err := fused.Evaluate(batch, got)
				if err != nil {
					t.Fatal(err)
				}
				compareDiagnostics(t, d, wantD, tol)
				numtest.Slice(t, "log-prob", got.LogProb, want.LogProb, tol)
				numtest.Slice(t, "log-prob map", got.LogProbMap, want.LogProbMap, tol)
				numtest.Slice(t, "image ratio", got.ImageRatio, want.ImageRatio, tol)
				numtest.Slice(t, "ratio map", got.RatioMap, want.RatioMap, tol)
				numtest.Slice(t, "gradient of the log-prob map", got.GradLogProbMap, want.GradLogProbMap, tol)
				numtest.Slice(t, "gradient of the model output", got.GradModelOutput, want.GradModelOutput, tol)
			}
		}
	})
}

func compareDiagnostics(t *testing.T, got, want Diagnostics, tol numtest.Tolerance) {
	t.Helper()
	for _, pair := range []struct {
		name      string
		got, want float64
	}{
		{"loss", got.Loss, want.Loss}, {"policy loss", got.PolicyLoss, want.PolicyLoss}, {"KL", got.KL, want.KL},
		{"approximate KL", got.ApproxKL, want.ApproxKL}, {"clip fraction", got.ClipFrac, want.ClipFrac},
		{"clip fraction above", got.ClipFracGtOne, want.ClipFracGtOne}, {"clip fraction below", got.ClipFracLtOne, want.ClipFracLtOne},
		{"ratio mean", got.RatioMean, want.RatioMean}, {"ratio std", got.RatioStd, want.RatioStd},
		{"ratio min", got.RatioMin, want.RatioMin}, {"ratio max", got.RatioMax, want.RatioMax},
	} {
		numtest.Value(t, pair.name, pair.got, pair.want, tol)
	}
}

// The cut into images or blocks changes neither the order of a sum nor a bit.
func TestResultsDoNotDependOnTheNumberOfWorkers(t *testing.T) {
	rng := rand.New(rand.NewPCG(12, 1))
	loss := DenseFlowGRPO(0.1, 0.04)
	for _, shape := range []Shape{Latents(3, 4, 80, 90), PackedLatents(3, 9000, 5)} {
		batch := randomBatch(rng, shape, loss, SDE)
		var first Diagnostics
		var results *Results[float64]
		for _, workers := range []int{1, 2, 3, 8, 100} {
			got := allResults[float64](shape)
			d, err := NewFusedLoss[float64](loss, workers).Evaluate(batch, got)
			if err != nil {
				t.Fatal(err)
			}
			if results == nil {
				first, results = d, got
			}
			if d != first {
				t.Errorf("%d workers: %+v, want %+v", workers, d, first)
			}
			numtest.Slice(t, fmt.Sprintf("gradient with %d workers", workers), got.GradModelOutput, results.GradModelOutput, numtest.Tolerance{})
		}
	}
}

func TestAbsentBuffersChangeNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(12, 2))
	eachLoss(t, func(t *testing.T, _ *rand.Rand, loss Loss, method Method) {
		batch := randomBatch(rng, Latents(2, 3, 4, 5), loss, method)
		fused := NewFusedLoss[float64](loss, 2)
		want, err := fused.Evaluate(batch, allResults[float64](batch.Shape))
		if err != nil {
			t.Fatal(err)
		}
		got, err := fused.Evaluate(batch, &Results[float64]{})
		if err != nil || got != want {
			t.Errorf("without buffers %+v, %v, want %+v", got, err, want)
		}
	})
}

func TestEvaluateAllocatesNothing(t *testing.T) {
	loss := DenseFlowGRPO(0.1, 0.04)
	for _, batchSize := range []int{1, 4} { // by blocks, by images
		batch := randomBatch(rand.New(rand.NewPCG(12, 3)), Latents(batchSize, 4, 80, 80), loss, SDE)
		results, fused := allResults[float64](batch.Shape), NewFusedLoss[float64](loss, 3)
		allocs := testing.AllocsPerRun(20, func() {
			if _, err := fused.Evaluate(batch, results); err != nil {
				t.Fatal(err)
			}
		})
		if allocs != 0 {
			t.Errorf("a batch of %d: %v allocations a call", batchSize, allocs)
		}
	}
}

// centralDifference is (f(x+h)-f(x-h))/2h by one element of x.
func centralDifference(x []float64, i int, h float64, f func() float64) float64 {
	kept := x[i]
	x[i] = kept + h
	above := f()
	x[i] = kept - h
	below := f()
	x[i] = kept
	return (above - below) / (2 * h)
}

func TestGradientsEqualCentralDifferences(t *testing.T) {
	const h = 1e-6
	// The error of a central difference is of the order of h^2 and of the rounding
	// of the loss over h.
	tol := numtest.Tolerance{Abs: 3e-9, Rel: 1e-5}
	eachLoss(t, func(t *testing.T, rng *rand.Rand, loss Loss, method Method) {
		for range 6 {
			shape := randomShape(rng)
			batch := randomBatch(rng, shape, loss, method)
			got := allResults[float64](shape)
			if _, err := NewFusedLoss[float64](loss, 2).Evaluate(batch, got); err != nil {
				t.Fatal(err)
			}
			frozen := naiveLogProbMap(batch)
			want := make([]float64, shape.Len())
			for i := range want {
				want[i] = centralDifference(batch.ModelOutput, i, h, func() float64 {
					d, _ := naive(loss, batch, frozen)
					return d.Loss
				})
			}
			numtest.Slice(t, "by the model output", got.GradModelOutput, want, tol)

			logProbMap, oldLogProb := naiveLogProbMap(batch), batch.OldLogProb
			if oldLogProb == nil {
				oldLogProb = naiveMeans(batch.OldLogProbMap, shape)
			}
			want = make([]float64, shape.MapLen())
			for l := range want {
				want[l] = centralDifference(logProbMap, l, h, func() float64 {
					policy, _ := naivePolicy(loss, batch, naiveRatio(loss, batch, logProbMap, frozen, oldLogProb))
					return policy
				})
			}
			numtest.Slice(t, "by the log-prob map", got.GradLogProbMap, want, tol)
		}
	})
}

func TestEvaluateRefusesWhatIsNotFinite(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	tests := []struct {
		name  string
		spoil func(b *Batch[float64])
		want  string
	}{
		{"NaN in the model output", func(b *Batch[float64]) { b.ModelOutput[b.Shape.Len()-1] = nan }, "flowgrpo: log-probability of image 1 is NaN"},
		{"NaN in the sample", func(b *Batch[float64]) { b.Sample[0] = nan }, "flowgrpo: log-probability of image 0 is NaN"},
		{"infinity in the previous sample", func(b *Batch[float64]) { b.PrevSample[0] = inf }, "flowgrpo: log-probability of image 0 is -Inf"},
		{"NaN in the old log-probabilities", func(b *Batch[float64]) { b.OldLogProbMap[0] = nan }, "flowgrpo: old log-probability of image 0 is NaN"},
		{"NaN in the reference", func(b *Batch[float64]) { b.RefModelOutput[0] = nan }, "flowgrpo: KL term of image 0 is NaN"},
		{"a NaN advantage", func(b *Batch[float64]) { b.AdvantageMap[0] = nan }, "flowgrpo: policy loss of image 0 is NaN"},
		{"an infinite weight", func(b *Batch[float64]) { b.Weight[0] = inf }, "flowgrpo: policy loss of image 0 is "},
	}
	for _, ratio := range []Ratio{DetachedRatio, DirectRatio} {
		for _, test := range tests {
			for _, workers := range []int{1, 5} {
				t.Run(fmt.Sprintf("%s, %v ratio, %d workers", test.name, ratio, workers), func(t *testing.T) {
					loss := Loss{Ratio: ratio, ClipRange: 0.1, KLBeta: 0.1}
					batch := fullBatch(Latents(2, 2, 3, 3))
					test.spoil(batch)
					_, err := NewFusedLoss[float64](loss, workers).Evaluate(batch, allResults[float64](batch.Shape))
					if err == nil || len(err.Error()) < len(test.want) || err.Error()[:len(test.want)] != test.want {
						t.Errorf("error %v, want %q", err, test.want)
					}
				})
			}
		}
	}
}

// fullBatch has an advantage map, a weight, a reference and an old map.
func fullBatch(shape Shape) *Batch[float64] {
	rng := rand.New(rand.NewPCG(13, 1))
	batch := randomBatch(rng, shape, Loss{Ratio: DirectRatio, KLBeta: 1}, SDE)
	batch.Advantages, batch.AdvantageMap = nil, numtest.Normals(rng, shape.MapLen())
	batch.Weight = numtest.Normals(rng, shape.MapLen())
	return batch
}

// Ratios that float64 holds and float32 does not: the loss is finite, its
// gradient is not.
func TestFloat32BuffersRefuseWhatTheyCannotHold(t *testing.T) {
	tests := []struct {
		name   string
		ratio  Ratio
		spoil  func(b *Batch[float32])
		only   func(r *Results[float32]) // the buffers that are left
		result string
	}{
		{"a direct ratio of exp(95)", DirectRatio, func(b *Batch[float32]) { b.OldLogProbMap[0] -= 95 }, func(*Results[float32]) {},
			"flowgrpo: mean ratio of the locations of image 0 is "},
		{"a direct ratio of exp(95), for its gradient alone", DirectRatio, func(b *Batch[float32]) { b.OldLogProbMap[0] -= 95 },
			func(r *Results[float32]) { *r = Results[float32]{GradModelOutput: r.GradModelOutput} }, "flowgrpo: mean ratio of the locations of image 0 is "},
		{"an image's ratio of exp(95)", ImageRatio, func(b *Batch[float32]) { b.OldLogProb[1] -= 95 }, func(*Results[float32]) {},
			"flowgrpo: ratio of image 1 is "},
		{"a detached ratio of exp(95)", DetachedRatio, func(b *Batch[float32]) { b.OldLogProb[1] -= 95 }, func(*Results[float32]) {},
			"flowgrpo: ratio of image 1 is "},
		{"a gradient above its ratio", DirectRatio, func(b *Batch[float32]) { b.Advantages[1] = -1e43 },
			func(r *Results[float32]) { *r = Results[float32]{GradModelOutput: r.GradModelOutput} },
			"flowgrpo: gradient of the model output of image 1 overflows float32"},
		{"a log-probability of a distance of 1e20", DirectRatio, func(b *Batch[float32]) { b.PrevSample[0] = 1e20 },
			func(*Results[float32]) {}, "flowgrpo: log-prob map of image 0 overflows float32"},
	}
	for _, test := range tests {
		for _, shape := range []Shape{Latents(2, 2, 3, 3), PackedLatents(2, 9, 2)} {
			for _, workers := range []int{1, 5} {
				t.Run(fmt.Sprintf("%s, %v, %d workers", test.name, shape, workers), func(t *testing.T) {
					rng := rand.New(rand.NewPCG(14, 1))
					loss := Loss{Ratio: test.ratio, ClipRange: 0.1}
					wide := randomBatch(rng, shape, loss, SDE)
					wide.AdvantageMap, wide.Weight = nil, nil
					wide.OldLogProbMap = naiveLogProbMap(wide)
					wide.OldLogProb = naiveMeans(wide.OldLogProbMap, shape)
					wide.Advantages = []float64{-1, -1}
					batch := narrow(wide)
					test.spoil(batch)
					results := allResults[float32](shape)
					test.only(results)
					_, err := NewFusedLoss[float32](loss, workers).Evaluate(batch, results)
					if err == nil || !strings.HasPrefix(err.Error(), test.result) {
						t.Errorf("error %v, want one that begins with %q", err, test.result)
					}
					if _, err := NewFusedLoss[float32](loss, workers).Evaluate(batch, &Results[float32]{}); err != nil {
						t.Errorf("without buffers: %v", err)
					}
				})
			}
		}
	}
}

// narrow is the batch in float32.
func narrow(b *Batch[float64]) *Batch[float32] {
	return &Batch[float32]{
		Shape: b.Shape, Steps: b.Steps, Credit: Credit[float32]{Advantages: b.Advantages}, OldLogProb: b.OldLogProb,
		Sample: convert[float32](b.Sample), PrevSample: convert[float32](b.PrevSample),
		ModelOutput: convert[float32](b.ModelOutput), OldLogProbMap: convert[float32](b.OldLogProbMap),
	}
}
