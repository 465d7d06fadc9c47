package batch_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
)

// instant is an evaluator that costs nothing.
type instant struct{ results []reward.Result }

var _ reward.Evaluator = instant{}

func (instant) Describe() reward.Description { return reward.Description{Fingerprint: "f"} }

func (e instant) Evaluate(_ context.Context, samples []reward.Sample) ([]reward.Result, error) {
	return e.results[:len(samples)], nil
}

// BenchmarkScheduler measures what batching costs a sample, for requests of 16
// by 8 clients and an evaluator that returns at once.
func BenchmarkScheduler(b *testing.B) {
	cfg := batch.DefaultConfig()
	cfg.Eager, cfg.CacheBytes = true, 0
	s := start(b, cfg, instant{make([]reward.Result, cfg.MaxBatch)})
	b.SetParallelism(8)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		js := jobs(sequence(0, 16)...)
		for pb.Next() {
			if _, err := s.Score(b.Context(), js); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(16*b.N), "ns/sample")
}

// BenchmarkCacheMiss adds what the cache costs a sample that it does not
// know: the hash of a 512x512 image, and the copy of a result with two 64x64
// heatmaps.
func BenchmarkCacheMiss(b *testing.B) {
	cfg := batch.DefaultConfig()
	cfg.Eager = true
	h := reward.Map{Height: 64, Width: 64, Data: make([]float32, 64*64)}
	results := make([]reward.Result, cfg.MaxBatch)
	for i := range results {
		results[i].Maps = []reward.Map{h, h}
	}
	s := start(b, cfg, instant{results})
	var n atomic.Int64
	b.SetBytes(512 * 512 * 3)
	b.RunParallel(func(pb *testing.PB) {
		im := &reward.Image{Width: 512, Height: 512, Pix: make([]uint8, 512*512*3)}
		for pb.Next() {
			id := n.Add(1)
			for k := range 8 {
				im.Pix[k] = uint8(id >> (8 * k))
			}
			js := []batch.Job{{Sample: reward.Sample{Image: im, Mode: reward.ModeAnswer}}}
			if _, err := s.Score(b.Context(), js); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkLatency is the time from Score to its return for a lone sample that
// nothing delays.
func BenchmarkLatency(b *testing.B) {
	cfg := batch.DefaultConfig()
	cfg.MaxDelay, cfg.CacheBytes = time.Duration(0), 0
	s := start(b, cfg, instant{make([]reward.Result, cfg.MaxBatch)})
	js := jobs(1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Score(b.Context(), js); err != nil {
			b.Fatal(err)
		}
	}
}
