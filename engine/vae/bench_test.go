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
// second in practice: the roofline of a decoder's time is its multiply-adds at that
// rate.
const peakTFLOP = 790

// published is a decoder of published widths, whose weights are random.
type published struct {
	name     string
	config   []byte
	channels int // of the latents
	side     int // of the latents of an image of 512x512, in cells
}

func publishedDecoders() []published {
	return []published{
		{"SD3.5", autoencoder.ConfigSD35, 16, 64},
		{"FLUX.2", autoencoder.ConfigFLUX2, 128, 32},
		{"Qwen-Image", autoencoder.ConfigQwenImage, 16, 64},
		{"Qwen-Image-2.1", autoencoder.ConfigQwenImage21, 64, 32},
		{"SANA", autoencoder.ConfigSANA, 32, 16},
		{"SDXL", autoencoder.ConfigSDXL, 4, 64},
		{"Wan-2.1", autoencoder.ConfigWan21, 16, 64},
		{"Wan-2.2", autoencoder.ConfigWan22, 48, 32},
		{"TAESD3", autoencoder.ConfigTAESD3, 16, 64},
	}
}

// tera is what decoding one 512x512 image takes, in TFLOP: its multiply-adds, times
// two.
func (p published) tera(b *testing.B) float64 {
	b.Helper()
	madds, err := autoencoder.MultiplyAdds(p.config, p.side, p.side)
	if err != nil {
		b.Fatal(err)
	}
	return 2 * float64(madds) / 1e12
}

// write writes the decoder with random weights.
func (p published) write(b *testing.B) (dir string) {
	b.Helper()
	dir = b.TempDir()
	if err := autoencoder.WriteRandom(dir, p.config, rand.New(rand.NewPCG(1, 2))); err != nil {
		b.Fatal(err)
	}
	return dir
}

// normals is latents of n images of normal numbers in bfloat16.
func (p published) normals(n int) *reward.Tensor {
	elements := n * p.channels * p.side * p.side
	latents := &reward.Tensor{Type: reward.BFloat16, Shape: []int{n, p.channels, p.side, p.side}, Data: make([]byte, 2*elements)}
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

// benchmarkDecode decodes batches of images of 512x512. An image that is not
// finite is an error.
func (p published) benchmarkDecode(b *testing.B, dir string, batch int, o vae.Options) {
	o.Runtime = orttest.Open(b)
	before := held(b, o.Provider)
	d, err := vae.Load(context.Background(), dir, o)
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	latents := p.normals(batch)
	decode := func() {
		if _, errs, err := d.Decode(context.Background(), latents, 0, 0); err != nil || errs != nil {
			b.Fatal(err, errs)
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
	b.ReportMetric(images*p.tera(b), "TFLOP/s")
	if o.Provider.Kind == ort.CUDA {
		b.ReportMetric(peakTFLOP/(images*p.tera(b)), "times-roofline")
		b.ReportMetric(float64(held(b, o.Provider)-before)/1e9, "GB")
	}
	b.ReportMetric(first.Seconds(), "first-s")
}

// BenchmarkDecodeCPU decodes one 512x512 image at published widths.
func BenchmarkDecodeCPU(b *testing.B) {
	for _, p := range publishedDecoders() {
		b.Run(p.name, func(b *testing.B) { p.benchmarkDecode(b, p.write(b), 1, vae.Options{}) })
	}
}

// BenchmarkDecodeCUDA decodes sixteen, with channels last and by the library's word
// for the best algorithm.
func BenchmarkDecodeCUDA(b *testing.B) {
	device := heuristic(orttest.CUDA(b)[0])
	for _, p := range publishedDecoders() {
		dir := p.write(b)
		for name, precision := range map[string]vae.Precision{"float16": vae.Float16, "float32": vae.Float32} {
			b.Run(p.name+"/"+name, func(b *testing.B) {
				p.benchmarkDecode(b, dir, 16, vae.Options{Provider: device, Precision: precision})
			})
		}
	}
}

// BenchmarkWaysOfCUDA decodes sixteen with SD3.5's decoder in each of the ways that
// a GPU has.
func BenchmarkWaysOfCUDA(b *testing.B) {
	device := orttest.CUDA(b)[0]
	p := publishedDecoders()[0]
	dir := p.write(b)
	for _, way := range []struct {
		name string
		o    vae.Options
	}{
		{"float16", vae.Options{Provider: device, Precision: vae.Float16}},
		{"float16/heuristic", vae.Options{Provider: heuristic(device), Precision: vae.Float16}},
		{"float16/first", vae.Options{Provider: device, Precision: vae.Float16, ChannelsFirst: true}},
		{"float32", vae.Options{Provider: device}},
		{"float32/heuristic", vae.Options{Provider: heuristic(device)}},
		{"float32/first", vae.Options{Provider: device, ChannelsFirst: true}},
	} {
		b.Run(way.name, func(b *testing.B) { p.benchmarkDecode(b, dir, 16, way.o) })
	}
}

// heuristic has cuDNN say which algorithm is best instead of searching for it: a
// server decodes batches of many sizes, each of which has its first time.
func heuristic(p ort.Provider) ort.Provider {
	return ort.Provider{Kind: p.Kind, Device: p.Device, Options: map[string]string{"cudnn_conv_algo_search": "HEURISTIC"}}
}
