package vae_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/ort/orttest"
	"github.com/denseflow/densereward/engine/safetensors"
	"github.com/denseflow/densereward/engine/vae"
	"github.com/denseflow/densereward/engine/vae/autoencoder"
	"github.com/denseflow/densereward/reward"
)

const weightsFile = "diffusion_pytorch_model.safetensors"

// tensors are those of the checkpoint in a folder or file, under other names.
func tensors(t *testing.T, path string, rename func(string) string) []safetensors.Source {
	t.Helper()
	open := safetensors.Open
	if strings.HasSuffix(path, ".safetensors") {
		open = safetensors.OpenFile
	}
	checkpoint, err := open(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []safetensors.Source
	for _, name := range checkpoint.Names() {
		tensor, _ := checkpoint.Tensor(name)
		data, err := checkpoint.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, source(rename(name), tensor.DType, tensor.Shape, data))
	}
	return all
}

func same(name string) string { return name }

func writeTensors(t *testing.T, path string, all []safetensors.Source) {
	t.Helper()
	if err := safetensors.Write(path, all); err != nil {
		t.Fatal(err)
	}
}

func writeText(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func loadPath(t *testing.T, path string) *vae.Decoder {
	t.Helper()
	d, err := vae.Load(context.Background(), path, vae.Options{Runtime: orttest.Open(t), Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// mustAgree wants two decoders to make the same image of latents.
func mustAgree(t *testing.T, a, b *vae.Decoder, latents *reward.Tensor) {
	t.Helper()
	if !bytes.Equal(decodeAll(t, a, latents)[0].Pix, decodeAll(t, b, latents)[0].Pix) {
		t.Errorf("%s and %s make other images", a.Describe().Name, b.Describe().Name)
	}
}

// pipeline is the folder of a pipeline around a decoder of testdata.
func pipeline(t *testing.T, decoder, index, part, flow string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "vae"), os.DirFS(filepath.Join("testdata", decoder))); err != nil {
		t.Fatal(err)
	}
	writeText(t, filepath.Join(dir, "model_index.json"), index)
	if part != "" {
		writeText(t, filepath.Join(dir, part, "config.json"), flow)
	}
	return dir
}

func TestAPipelinesFolderHasItsDecoder(t *testing.T) {
	dir := pipeline(t, "vae-sd3-nano", `{"_class_name": "StableDiffusion3Pipeline"}`, "transformer", `{"in_channels": 16}`)
	mustAgree(t, loadPath(t, dir), load(t, "vae-sd3-nano", vae.Options{}), array(t, "vae-sd3-nano.8x8.latents"))
	if err := os.RemoveAll(filepath.Join(dir, "vae")); err != nil {
		t.Fatal(err)
	}
	_, err := vae.Load(context.Background(), dir, vae.Options{Runtime: orttest.Open(t)})
	if err == nil || !strings.Contains(err.Error(), "pipeline without vae/config.json") {
		t.Errorf("a pipeline without a decoder: %v", err)
	}
}

func gridSide(path string) (int, error) {
	m, err := autoencoder.Open(path)
	if err != nil {
		return 0, err
	}
	return m.Config.GridSide, nil
}

func TestADenseGridIsThatOfThePipelinesLatentsOrTokens(t *testing.T) {
	for name, c := range map[string]struct {
		decoder, index, part, flow string
		want                       int
	}{
		"SD3.5":                      {"vae-sd3-nano", `{}`, "transformer", `{"in_channels": 16, "out_channels": 16, "patch_size": 2}`, 1},
		"Z-Image":                    {"vae-sd3-nano", `{}`, "transformer", `{"in_channels": 16, "all_patch_size": [2]}`, 1},
		"FLUX.1":                     {"vae-sd3-nano", `{}`, "transformer", `{"in_channels": 64, "out_channels": null}`, 2},
		"FLUX.1 that fills":          {"vae-sd3-nano", `{}`, "transformer", `{"in_channels": 384, "out_channels": 64}`, 2},
		"FLUX.1 without its weights": {"vae-sd3-nano", `{"_class_name": "FluxPipeline"}`, "", "", 2},
		"an unknown model":           {"vae-sd3-nano", `{"_class_name": "OtherPipeline"}`, "transformer", `{"in_channels": "many"}`, 1},
		"a unet":                     {"vae-sd-nano", `{}`, "unet", `{"in_channels": 9, "out_channels": 4}`, 1},
		"FLUX.2":                     {"flux2-nano", `{}`, "transformer", `{"in_channels": 16}`, 1},
		"Qwen-Image":                 {"qwenimage-nano", `{}`, "transformer", `{"in_channels": 16, "out_channels": 4, "patch_size": 2}`, 2},
		"Qwen-Image 2.1":             {"qwenimage21-nano", `{}`, "transformer", `{"in_channels": 8}`, 1},
		"SANA":                       {"dc-nano", `{}`, "transformer", `{"in_channels": 4, "patch_size": 1}`, 1},
		"Wan 2.1":                    {"wan21-nano", `{}`, "transformer", `{"in_channels": 4, "patch_size": [1, 2, 2]}`, 1},
	} {
		dir := pipeline(t, c.decoder, c.index, c.part, c.flow)
		for _, path := range []string{dir, filepath.Join(dir, "vae")} {
			if got, err := gridSide(path); err != nil || got != c.want {
				t.Errorf("%s: %d cells a side, %v, want %d", name, got, err, c.want)
			}
		}
	}
	for name, want := range map[string]int{"vae-sd3-nano": 1, "qwenimage-nano": 2, "qwenimage21-nano": 1, "flux2-nano": 1, "dc-nano": 1} {
		if got, err := gridSide(filepath.Join("testdata", name)); err != nil || got != want {
			t.Errorf("%s alone: %d cells a side, %v, want %d", name, got, err, want)
		}
	}
}

func TestVariantsOfTheWeightsAreFound(t *testing.T) {
	dir := t.TempDir()
	config, err := os.ReadFile("testdata/qwenimage-nano/config.json")
	if err != nil {
		t.Fatal(err)
	}
	writeText(t, filepath.Join(dir, "config.json"), string(config))
	good := tensors(t, "testdata/qwenimage-nano/diffusion_pytorch_model.fp16.safetensors", same)
	other := tensors(t, "testdata/wan21-nano", same) // which has other shapes
	writeTensors(t, filepath.Join(dir, "diffusion_pytorch_model.fp16.safetensors"), good)
	writeTensors(t, filepath.Join(dir, "diffusion_pytorch_model.bf16.safetensors"), other)
	latents := array(t, "qwenimage-nano.4x4.latents")
	mustAgree(t, loadPath(t, dir), load(t, "qwenimage-nano", vae.Options{}), latents)
	writeTensors(t, filepath.Join(dir, weightsFile), other)
	if _, err := vae.Load(context.Background(), dir, vae.Options{Runtime: orttest.Open(t)}); err == nil {
		t.Error("a variant is taken where there are weights of full precision")
	}
}

// originalNames are what diffusers' tensors of a decoder of four stages, which
// changes its width before the last and the last but one, are called in single
// files.
func originalNames(t *testing.T) func(string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(casesDir(), "names.json"))
	if err != nil {
		t.Fatal(err)
	}
	var names map[string]string
	if err := json.Unmarshal(data, &names); err != nil {
		t.Fatal(err)
	}
	return func(name string) string {
		if theirs, ok := names[name]; ok {
			return theirs
		}
		return name
	}
}

// original writes the decoder in dir as a single file, as its authors did.
func original(t *testing.T, dir, path, prefix string) {
	t.Helper()
	of := originalNames(t)
	writeTensors(t, path, tensors(t, dir, func(name string) string { return prefix + of(name) }))
}

func TestASingleFileIsItsFolder(t *testing.T) {
	latents := array(t, "vae-sd3-nano.8x8.latents")
	for name, c := range map[string]struct{ file, prefix, config string }{
		"FLUX.1":               {"ae.safetensors", "", flux1},
		"SD3":                  {"sd3.5_vae.safetensors", "", strings.NewReplacer("0.3611", "1.5305", "0.1159", "0.0609").Replace(flux1)},
		"within a whole model": {"flux1.safetensors", "first_stage_model.", flux1},
	} {
		folder, single := t.TempDir(), filepath.Join(t.TempDir(), c.file)
		if err := autoencoder.WriteRandom(folder, []byte(c.config), rand.New(rand.NewPCG(1, 2))); err != nil {
			t.Fatal(err)
		}
		original(t, folder, single, c.prefix)
		want := loadPath(t, folder)
		mustAgree(t, loadPath(t, single), want, latents)
		if t.Failed() {
			t.Fatal(name)
		}
		if c.file == "ae.safetensors" {
			mustAgree(t, loadPath(t, filepath.Dir(single)), want, latents)
		}
	}
}

// flux1 is FLUX.1's configuration at a small width.
const flux1 = `{"_class_name": "AutoencoderKL", "latent_channels": 16, "scaling_factor": 0.3611, "shift_factor": 0.1159,
 "block_out_channels": [32, 64, 32, 32], "layers_per_block": 1, "norm_num_groups": 32, "use_post_quant_conv": false}`

func TestASingleFileWithStatisticsIsFLUX2s(t *testing.T) {
	config := `{"_class_name": "AutoencoderKLFlux2", "latent_channels": 4, "block_out_channels": [32, 64, 32, 32], "layers_per_block": 1}`
	of := originalNames(t)
	folder, single := t.TempDir(), filepath.Join(t.TempDir(), "flux2-vae.safetensors")
	if err := autoencoder.WriteRandom(folder, []byte(config), rand.New(rand.NewPCG(1, 2))); err != nil {
		t.Fatal(err)
	}
	writeTensors(t, single, tensors(t, folder, func(name string) string {
		if strings.HasPrefix(name, "post_quant_conv.") {
			return "decoder." + name
		}
		return of(name)
	}))
	d := loadPath(t, single)
	mustAgree(t, d, loadPath(t, folder), array(t, "flux2-nano.3x5.latents"))
	if got := d.Describe(); got.Name != "flux2-vae" || got.Channels != 16 || got.PixelScale != 16 {
		t.Errorf("description %+v", got)
	}
}

func TestAConfigBesideASingleFileSaysWhatItIs(t *testing.T) {
	dir := t.TempDir()
	original(t, "testdata/vae-sd3-nano", filepath.Join(dir, "any.safetensors"), "")
	path := filepath.Join(dir, "any.safetensors")
	_, err := vae.Load(context.Background(), path, vae.Options{Runtime: orttest.Open(t)})
	if err == nil || !strings.Contains(err.Error(), "16 channels do not say how the latents are scaled") {
		t.Errorf("a file that might be FLUX's or SD3's: %v", err)
	}
	config, err := os.ReadFile("testdata/vae-sd3-nano/config.json")
	if err != nil {
		t.Fatal(err)
	}
	writeText(t, filepath.Join(dir, "config.json"), string(config))
	mustAgree(t, loadPath(t, path), load(t, "vae-sd3-nano", vae.Options{}), array(t, "vae-sd3-nano.8x8.latents"))
	_, err = vae.Load(context.Background(), filepath.Join("testdata", "dc-nano", weightsFile), vae.Options{Runtime: orttest.Open(t)})
	if err != nil {
		t.Errorf("a file with diffusers' names beside its config.json: %v", err)
	}
	alone := filepath.Join(t.TempDir(), "x.safetensors")
	writeTensors(t, alone, tensors(t, "testdata/dc-nano", same))
	_, err = vae.Load(context.Background(), alone, vae.Options{Runtime: orttest.Open(t)})
	if err == nil || !strings.Contains(err.Error(), "no tensor decoder.up.0.block.0.conv1.weight") {
		t.Errorf("a file of unknown names alone: %v", err)
	}
}

// spoilt is a copy of a decoder of testdata with an element of a tensor changed.
func spoilt(t *testing.T, decoder, tensor string, element int, value float32) string {
	t.Helper()
	dir := copyOf(t, decoder)
	checkpoint, err := safetensors.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	found, ok := checkpoint.Tensor(tensor)
	bits := math.Float32bits(value)
	number := []byte{byte(bits), byte(bits >> 8), byte(bits >> 16), byte(bits >> 24)}
	switch {
	case ok && found.DType == safetensors.BF16:
		number = number[2:]
	case !ok || found.DType != safetensors.F32:
		t.Fatalf("tensor %s is %v", tensor, found)
	}
	f, err := os.OpenFile(found.Path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(number, found.Offset+int64(len(number)*element)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestStatisticsThatAreNotFiniteAreNamed(t *testing.T) {
	for _, c := range []struct {
		tensor string
		value  float32
	}{
		{"bn.running_mean", float32(math.NaN())}, {"bn.running_mean", float32(math.Inf(1))},
		{"bn.running_var", float32(math.NaN())}, {"bn.running_var", -1},
	} {
		dir := spoilt(t, "flux2-nano", c.tensor, 3, c.value)
		_, err := vae.Load(context.Background(), dir, vae.Options{Runtime: orttest.Open(t)})
		if want := fmt.Sprintf("tensor %s: element 3 is %g", c.tensor, c.value); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s of %g: error %v, want %q in it", c.tensor, c.value, err, want)
		}
	}
}

func TestAnImageThatIsNotFiniteIsAnErrorOfItsSample(t *testing.T) {
	for name, dir := range map[string]string{
		"AutoencoderTiny":    spoilt(t, "vae-tiny-nano", "decoder.layers.18.bias", 0, float32(math.NaN())),
		"AutoencoderKL":      spoilt(t, "vae-sd3-nano", "decoder.conv_out.bias", 0, float32(math.Inf(1))),
		"AutoencoderKLWan":   spoilt(t, "wan21-nano", "decoder.conv_out.bias", 0, float32(math.Inf(-1))),
		"AutoencoderKLFlux2": spoilt(t, "flux2-nano", "decoder.conv_out.bias", 2, float32(math.NaN())),
	} {
		for _, pixels := range []int{0, 1} { // whole, in tiles
			d, err := vae.Load(context.Background(), dir, vae.Options{Runtime: orttest.Open(t), Threads: 1, RunPixels: pixels})
			if err != nil {
				t.Fatal(err)
			}
			channels := d.Describe().Channels
			latents := noise(channels, 4, 40)
			images, errs, err := d.Decode(context.Background(), latents, 0, 0)
			if err != nil || images[0] != nil || len(errs) != 1 || !errors.Is(errs[0], reward.ErrNotFinite) {
				t.Errorf("%s: image %v, errors %v, %v", name, images[0] != nil, errs, err)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestTheSizeOfAnImageIsLimitedBeforeAnythingIsAllocated(t *testing.T) {
	d := load(t, "vae-sd3-nano", vae.Options{})
	for name, shape := range map[string][]int{
		"8 MiB in a row":            {1, 16, 1, 262144},
		"8 MiB in a column":         {1, 16, 262144, 1},
		"more pixels than the most": {1, 16, 1025, 1024},
		"tokens":                    {1, 1 << 20, 64},
		"a frame":                   {1, 16, 1, 1, 262144},
		"more than an int holds":    {1, 16, math.MaxInt / 2, math.MaxInt / 2},
	} {
		if _, err := d.Layout(shape, 0, 0); !errors.Is(err, reward.ErrImageTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := d.Layout([]int{1, 16, 4096, 1}, 0, 0); err != nil {
		t.Errorf("an image as long as the limit: %v", err)
	}
	if _, err := d.Layout([]int{1, 16, 4097, 1}, 0, 0); !errors.Is(err, reward.ErrImageTooLarge) {
		t.Errorf("an image longer than the limit: %v", err)
	}
}

func TestDecodersThatOverflowHalfPrecisionKeepTheirs(t *testing.T) {
	sdxl := `{"_class_name": "AutoencoderKL", "latent_channels": 4, "scaling_factor": 0.13025, "block_out_channels": [32], "force_upcast": %v}`
	for config, want := range map[string]vae.Precision{
		fmt.Sprintf(sdxl, true): vae.Float32, fmt.Sprintf(sdxl, false): vae.Float16, flux1: vae.Float16,
		`{"_class_name": "AutoencoderKL", "block_out_channels": [32], "force_upcast": true}`:                    vae.Float16, // SD1.5
		`{"_class_name": "AutoencoderDC", "decoder_block_out_channels": [32], "decoder_layers_per_block": [1]}`: vae.Float32,
	} {
		dir := t.TempDir()
		if err := autoencoder.WriteRandom(dir, []byte(config), nil); err != nil {
			t.Fatal(err)
		}
		d, err := vae.Load(context.Background(), dir, vae.Options{Runtime: orttest.Open(t), Precision: vae.Float16})
		if err != nil {
			t.Fatal(err)
		}
		if got, reason := d.Precision(); got != want || (got == vae.Float16) != (reason == "") {
			t.Errorf("%s: precision %v, %q", config, got, reason)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}
