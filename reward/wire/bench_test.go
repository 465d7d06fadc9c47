package wire_test

import (
	"testing"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/wire"
)

func rawRequest(b *testing.B) (*wire.Request, []byte) {
	q := &wire.Request{}
	for i := range 16 {
		q.Prompts = append(q.Prompts, "a photograph of a red panda that reads a newspaper in the rain")
		q.Images = append(q.Images, wire.Image{Tensor: rewardtest.Tensor(rewardtest.Image(uint64(i), 512, 512))})
	}
	m, err := q.Encode(wire.DefaultLimits())
	if err != nil {
		b.Fatal(err)
	}
	return q, m.Bytes()
}

// BenchmarkDecodeRequest16Raw decodes a request of 16 raw 512x512 images. The
// pixels are not copied: the bytes allocated are the proof.
func BenchmarkDecodeRequest16Raw(b *testing.B) {
	_, body := rawRequest(b)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := wire.DecodeRequest(body, wire.DefaultLimits()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEncodeRequest16Raw encodes the same request.
func BenchmarkEncodeRequest16Raw(b *testing.B) {
	q, body := rawRequest(b)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := q.Encode(wire.DefaultLimits()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEncode16Maps makes tensors of 16 maps of 64x64 and encodes the
// response that holds them.
func BenchmarkEncode16Maps(b *testing.B) {
	const n, side = 16, 64
	values := make([]float32, n*side*side)
	p := &wire.Response{
		Rewards: make([]float64, n), Missing: make([][]string, n),
		Errors: make([]*reward.Error, n), Cached: make([]bool, n),
	}
	for _, name := range []string{"semantic_alignment", "aesthetics", "plausibility", "overall"} {
		p.Scores = append(p.Scores, wire.NamedScores{Name: name, Values: make([]float64, n)})
	}
	b.ReportAllocs()
	for b.Loop() {
		maps := reward.Float32Tensor(values, n, side, side)
		p.Dense = &wire.DenseMaps{Height: side, Width: side, Weight: maps, Reward: maps}
		if p.Encode().Len() == 0 {
			b.Fatal("empty")
		}
	}
}
