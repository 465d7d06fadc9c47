package vae_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/orttest"
	"github.com/denseflow/densereward/engine/vae"
	"github.com/denseflow/densereward/reward"
)

// floorTFLOP is what decoding one 512x512 picture takes at SD3.5's widths: its
// multiply-adds, times two.
func floorTFLOP(b *testing.B) float64 {
	b.Helper()
	madds, err := vae.MultiplyAdds(vae.ConfigSD35, 64, 64)
	if err != nil {
		b.Fatal(err)
	}
	return 2 * float64(madds) / 1e12
}

func benchmarkDecode(b *testing.B, batch int, o vae.Options) {
	dir := b.TempDir()
	if err := vae.WriteRandom(dir, vae.ConfigSD35, rand.New(rand.NewPCG(1, 2))); err != nil {
		b.Fatal(err)
	}
	o.Runtime = orttest.Open(b)
	d, err := vae.Load(context.Background(), dir, o)
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	values := make([]float32, batch*16*64*64)
	random := rand.New(rand.NewPCG(3, 4))
	for i := range values {
		values[i] = float32(random.NormFloat64())
	}
	latents := reward.Float32Tensor(values, batch, 16, 64, 64)
	decode := func() {
		if _, _, err := d.Decode(context.Background(), latents, 0, 0); err != nil {
			b.Fatal(err)
		}
	}
	decode() // the first run of a size chooses its algorithms
	for b.Loop() {
		decode()
	}
	images := float64(batch*b.N) / b.Elapsed().Seconds()
	b.ReportMetric(images, "images/s")
	b.ReportMetric(images*floorTFLOP(b), "TFLOP/s")
}

// BenchmarkDecodeCPU decodes one 512x512 picture at SD3.5's widths.
func BenchmarkDecodeCPU(b *testing.B) { benchmarkDecode(b, 1, vae.Options{}) }

// BenchmarkDecodeCUDA decodes sixteen.
func BenchmarkDecodeCUDA(b *testing.B) {
	p := orttest.CUDA(b)[0]
	nhwc := ort.Provider{Kind: p.Kind, Device: p.Device, Options: map[string]string{"prefer_nhwc": "1"}}
	for name, o := range map[string]vae.Options{
		"float32":               {Provider: p},
		"float16":               {Provider: p, Precision: vae.Float16},
		"float16 prefer_nhwc":   {Provider: nhwc, Precision: vae.Float16},
		"float16 channels last": {Provider: p, Precision: vae.Float16, ChannelsLast: true},
		"float32 channels last": {Provider: p, ChannelsLast: true},
	} {
		b.Run(name, func(b *testing.B) { benchmarkDecode(b, 16, o) })
	}
}
