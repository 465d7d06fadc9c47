package imagedoctor

import (
	"fmt"
	"testing"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/qwenvl"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
)

// benchmarkEvaluate times batches of the reference's images, prepared ahead, and
// reports images a second.
func benchmarkEvaluate(b *testing.B, e *Evaluator, rows int) {
	_, samples := refSamples(b)
	for i := range samples {
		if err := e.Prepare(b.Context(), &samples[i]); err != nil {
			b.Fatal(err)
		}
	}
	batch := make([]reward.Sample, rows)
	for i := range batch {
		batch[i] = samples[i%len(samples)]
	}
	for b.Loop() {
		evaluate(b, e, batch)
	}
	b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "images/s")
}

// BenchmarkEvaluateNano is the whole evaluator on the CPU with the miniature
// checkpoint.
func BenchmarkEvaluateNano(b *testing.B) {
	for _, way := range []struct {
		name string
		form form
	}{
		{"speculative", form{prefixed: true}},
		{"a token a step", form{prefixed: true, noSpeculative: true}},
		{"with a penalty", form{prefixed: true, penalty: 1.05}},
	} {
		for _, rows := range []int{1, 8} {
			b.Run(fmt.Sprintf("%s/%d images", way.name, rows), func(b *testing.B) {
				benchmarkEvaluate(b, nanoEvaluator(b, way.form), rows)
			})
		}
	}
}

// BenchmarkPrepare is the host's share of one sample: two resizes and the
// prompt's tokens.
func BenchmarkPrepare(b *testing.B) {
	e := nanoEvaluator(b, form{prefixed: true})
	for _, side := range []int{512, 1024} {
		b.Run(fmt.Sprintf("%d pixels", side), func(b *testing.B) {
			s := reward.Sample{Image: rewardtest.Image(1, side, side), Prompt: "a red bicycle leaning against a wall"}
			for b.Loop() {
				s.Prepared = nil
				if err := e.Prepare(b.Context(), &s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkJoinBatch lays 32 prepared samples out for the graph.
func BenchmarkJoinBatch(b *testing.B) {
	e := nanoEvaluator(b, form{prefixed: true})
	_, samples := refSamples(b)
	if err := e.Prepare(b.Context(), &samples[0]); err != nil {
		b.Fatal(err)
	}
	ready := make([]*prepared, 32)
	for i := range ready {
		ready[i] = samples[0].Prepared.(*prepared)
	}
	for b.Loop() {
		e.inputs(e.joined(reward.ModeAnswer, ready))
	}
}

// BenchmarkBuildGraph writes the graph of the released shapes and encodes it.
func BenchmarkBuildGraph(b *testing.B) {
	config, list := releasedList(b)
	o := graphOptions{Options: qwenvl.Options{DType: onnx.BFloat16, Paged: true}, heads: onnx.Float16}
	for b.Loop() {
		g, err := buildGraph(config, list, o)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := g.Marshal(); err != nil {
			b.Fatal(err)
		}
	}
}
