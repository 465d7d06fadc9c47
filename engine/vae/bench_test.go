package vae_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/orttest"
	"github.com/denseflow/densereward/engine/vae"
	"github.com/denseflow/densereward/engine/vae/autoencoder"
	"github.com/denseflow/densereward/reward"
)

// peakTFLOP is the dense half-precision arithmetic that an H100 or H200 does in a
// second in practice: the floor of a decoder's time is its multiply-adds at that
// rate.
const peakTFLOP = 790

// tera is what decoding one 512x512 image takes at SD3.5's widths, in TFLOP: its
// multiply-adds, times two.
func tera(b *testing.B) float64 {
	b.Helper()
	madds, err := autoencoder.MultiplyAdds(autoencoder.ConfigSD35, 64, 64)
	if err != nil {
		b.Fatal(err)
	}
	return 2 * float64(madds) / 1e12
}

// writeSD35 writes a decoder of SD3.5's widths with random weights.
func writeSD35(b *testing.B) (dir string) {
	b.Helper()
	dir = b.TempDir()
	if err := autoencoder.WriteRandom(dir, autoencoder.ConfigSD35, rand.New(rand.NewPCG(1, 2))); err != nil {
		b.Fatal(err)
	}
	return dir
}

// normals is latents (n,16,64,64) of normal numbers in bfloat16.
func normals(n int) *reward.Tensor {
	latents := &reward.Tensor{Type: reward.BFloat16, Shape: []int{n, 16, 64, 64}, Data: make([]byte, 2*n*16*64*64)}
	random := rand.New(rand.NewPCG(3, 4))
	for i := 0; i < len(latents.Data); i += 2 {
		v := bfloat16(float32(random.NormFloat64()))
		latents.Data[i], latents.Data[i+1] = byte(v), byte(v>>8)
	}
	return latents
}

// held is how much of a GPU's memory is in use; 0 for a CPU, of which nobody keeps
// account.
func held(b *testing.B, p ort.Provider) int64 {
	b.Helper()
	if p.Kind != ort.CUDA {
		return 0
	}
	free, total, err := ort.FreeMemory(p.Device)
	if err != nil {
		b.Fatal(err)
	}
	return total - free
}

// benchmarkDecode decodes batches of images of 512x512.
func benchmarkDecode(b *testing.B, dir string, batch int, o vae.Options) {
	o.Runtime = orttest.Open(b)
	before := held(b, o.Provider)
	d, err := vae.Load(context.Background(), dir, o)
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	latents := normals(batch)
	decode := func() {
		if _, _, err := d.Decode(context.Background(), latents, 0, 0); err != nil {
			b.Fatal(err)
		}
	}
	began := time.Now()
	decode() // the first run of a size chooses its algorithms
	first := time.Since(began)
	for b.Loop() {
		decode()
	}
	images := float64(batch*b.N) / b.Elapsed().Seconds()
	b.ReportMetric(images, "images/s")
	b.ReportMetric(images*tera(b), "TFLOP/s")
	if o.Provider.Kind == ort.CUDA {
		b.ReportMetric(peakTFLOP/(images*tera(b)), "times-floor")
		b.ReportMetric(float64(held(b, o.Provider)-before)/1e9, "GB")
	}
	b.ReportMetric(first.Seconds(), "first-s")
}

// BenchmarkDecodeCPU decodes one 512x512 image at SD3.5's widths.
func BenchmarkDecodeCPU(b *testing.B) { benchmarkDecode(b, writeSD35(b), 1, vae.Options{}) }

// BenchmarkDecodeCUDA decodes sixteen in each of the ways that a GPU has.
func BenchmarkDecodeCUDA(b *testing.B) {
	p := orttest.CUDA(b)[0]
	// A server decodes batches of many sizes, each of which has its first time:
	// the library's word for the best algorithm may do as well as a search.
	heuristic := ort.Provider{Kind: p.Kind, Device: p.Device, Options: map[string]string{"cudnn_conv_algo_search": "HEURISTIC"}}
	dir := writeSD35(b)
	for _, way := range []struct {
		name string
		o    vae.Options
	}{
		{"float16", vae.Options{Provider: p, Precision: vae.Float16}},
		{"float16/heuristic", vae.Options{Provider: heuristic, Precision: vae.Float16}},
		{"float16/first", vae.Options{Provider: p, Precision: vae.Float16, ChannelsFirst: true}},
		{"float32", vae.Options{Provider: p}},
		{"float32/heuristic", vae.Options{Provider: heuristic}},
		{"float32/first", vae.Options{Provider: p, ChannelsFirst: true}},
	} {
		b.Run(way.name, func(b *testing.B) { benchmarkDecode(b, dir, 16, way.o) })
	}
}
