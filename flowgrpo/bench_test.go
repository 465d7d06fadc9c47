package flowgrpo

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/denseflow/densereward/internal/numtest"
)

// The figures that PERFORMANCE.md records: a batch of 16 latents of 16x64x64.
var benchShape = Latents(16, 16, 64, 64)

func benchBatch(loss Loss, shape Shape) *Batch[float32] {
	rng := rand.New(rand.NewPCG(21, 1))
	wide := randomBatch(rng, Latents(shape.Batch, shape.Channels, 1, shape.Locations), loss, SDE)
	if shape.Packed {
		wide = packedBatch(wide)
	}
	batch := &Batch[float32]{
		Shape: shape, Steps: wide.Steps,
		Sample: convert[float32](wide.Sample), PrevSample: convert[float32](wide.PrevSample),
		ModelOutput: convert[float32](wide.ModelOutput), RefModelOutput: convert[float32](wide.RefModelOutput),
		OldLogProbMap: convert[float32](naiveLogProbMap(wide)),
	}
	switch loss.Ratio {
	case ImageRatio:
		batch.Advantages = numtest.Normals(rng, shape.Batch)
	case DetachedRatio:
		batch.Advantages = numtest.Normals(rng, shape.Batch)
		batch.Weight = make([]float32, shape.MapLen())
		for l := range batch.Weight {
			batch.Weight[l] = rng.Float32()
		}
	case DirectRatio:
		batch.AdvantageMap = convert[float32](numtest.Normals(rng, shape.MapLen()))
	}
	return batch
}

// buffersOf are the slices that a loss reads and writes.
func buffersOf(b *Batch[float32], r *Results[float32]) [][]float32 {
	return [][]float32{
		b.Sample, b.PrevSample, b.ModelOutput, b.RefModelOutput, b.OldLogProbMap, b.AdvantageMap, b.Weight,
		r.GradLogProbMap, r.GradModelOutput,
	}
}

func bytesOf(buffers [][]float32) int64 {
	var n int
	for _, buffer := range buffers {
		n += 4 * len(buffer)
	}
	return int64(n)
}

func benchResults(shape Shape) *Results[float32] {
	return &Results[float32]{GradLogProbMap: make([]float32, shape.MapLen()), GradModelOutput: make([]float32, shape.Len())}
}

func benchmarkLoss(b *testing.B, loss Loss, shape Shape, workers int) {
	batch, results := benchBatch(loss, shape), benchResults(shape)
	fused := NewFusedLoss[float32](loss, workers)
	b.SetBytes(bytesOf(buffersOf(batch, results)))
	measure(b, func() {
		if _, err := fused.Evaluate(batch, results); err != nil {
			b.Fatal(err)
		}
	})
}

// measure runs a benchmark's body, once beforehand so that working memory is
// there, and reports the fastest run beside the mean: on a machine that others use
// too it is the one that repeats.
func measure(b *testing.B, body func()) {
	body()
	b.ReportAllocs()
	fastest := time.Duration(math.MaxInt64)
	for b.Loop() {
		start := time.Now()
		body()
		fastest = min(fastest, time.Since(start))
	}
	b.ReportMetric(float64(fastest.Nanoseconds()), "fastest-ns/op")
}

type benchLoss struct {
	name string
	loss Loss
}

func benchLosses() []benchLoss {
	return []benchLoss{
		{"FlowGRPO", FlowGRPO(1e-4, 0)},
		{"FlowGRPO with KL", FlowGRPO(1e-4, 0.04)},
		{"DenseFlowGRPO", DenseFlowGRPO(1e-4, 0)},
		{"DenseFlowGRPO with KL", DenseFlowGRPO(1e-4, 0.04)},
		{"BoxFlowGRPO", BoxFlowGRPO(1e-4, 0)},
	}
}

func BenchmarkLoss(b *testing.B) {
	for _, l := range benchLosses() {
		b.Run(l.name, func(b *testing.B) { benchmarkLoss(b, l.loss, benchShape, 0) })
		b.Run(l.name+" on one core", func(b *testing.B) { benchmarkLoss(b, l.loss, benchShape, 1) })
	}
	b.Run("DenseFlowGRPO packed", func(b *testing.B) {
		benchmarkLoss(b, DenseFlowGRPO(1e-4, 0), PackedLatents(16, 1024, 64), 0)
	})
}

// BenchmarkCopy is the yardstick: a plain copy of the buffers that the loss reads
// and writes, on one core.
func BenchmarkCopy(b *testing.B) {
	for _, l := range benchLosses() {
		b.Run(l.name, func(b *testing.B) {
			from := buffersOf(benchBatch(l.loss, benchShape), benchResults(benchShape))
			to := make([][]float32, len(from))
			for i, buffer := range from {
				to[i] = make([]float32, len(buffer))
			}
			b.SetBytes(bytesOf(from))
			measure(b, func() {
				for i, buffer := range from {
					copy(to[i], buffer)
				}
			})
		})
	}
}

func BenchmarkNaiveLoss(b *testing.B) {
	loss := DenseFlowGRPO(1e-4, 0)
	batch := benchBatch(loss, benchShape)
	measure(b, func() { naive(loss, batch, nil) })
}

func BenchmarkLogProb(b *testing.B) {
	batch := benchBatch(FlowGRPO(1e-4, 0), benchShape)
	logProb, logProbMap := make([]float64, benchShape.Batch), make([]float32, benchShape.MapLen())
	measure(b, func() {
		LogProb(logProb, logProbMap, benchShape, batch.Steps, batch.ModelOutput, batch.Sample, batch.PrevSample)
	})
}

func BenchmarkMapAdvantages(b *testing.B) {
	const n, locations = 16, 4096
	rewards := convert[float32](numtest.Normals(rand.New(rand.NewPCG(21, 2)), n*locations))
	dst, groups := make([]float32, n*locations), Groups{{0, 1, 2, 3, 4, 5, 6, 7}, {8, 9, 10, 11, 12, 13, 14, 15}}
	measure(b, func() {
		if err := MapAdvantages(dst, rewards, locations, groups, BoxNormalization()); err != nil {
			b.Fatal(err)
		}
	})
}
