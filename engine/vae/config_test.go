package vae_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/ort/orttest"
	"github.com/denseflow/densereward/engine/safetensors"
	"github.com/denseflow/densereward/engine/vae"
	"github.com/denseflow/densereward/reward"
)

func TestConfigsThatCannotBeBuiltNameTheKey(t *testing.T) {
	for want, config := range map[string]string{
		"config.json":                      `{"_class_name": 7}`,
		"_class_name":                      `{"_class_name": "AutoencoderKLMochi"}`,
		"act_fn":                           `{"_class_name": "AutoencoderKL", "act_fn": "mish"}`,
		"up_block_types[1]":                `{"_class_name": "AutoencoderKL", "up_block_types": ["UpDecoderBlock2D", "AttnUpDecoderBlock2D"]}`,
		"block_out_channels":               `{"_class_name": "AutoencoderKL", "block_out_channels": [48]}`,
		"norm_num_groups":                  `{"_class_name": "AutoencoderKL", "norm_num_groups": 0}`,
		"1 to 8":                           `{"_class_name": "AutoencoderKL", "block_out_channels": [32,32,32,32,32,32,32,32,32]}`,
		"1 to 32":                          `{"_class_name": "AutoencoderKL", "layers_per_block": 1000}`,
		"1 to 16384":                       `{"_class_name": "AutoencoderKL", "block_out_channels": [1048576]}`,
		"latent_channels":                  `{"_class_name": "AutoencoderKL", "latent_channels": -1}`,
		"z_dim":                            `{"_class_name": "AutoencoderKLWan", "z_dim": -1, "latents_mean": null, "latents_std": null}`,
		"out_channels":                     `{"_class_name": "AutoencoderKL", "out_channels": 5}`,
		"scaling_factor":                   `{"_class_name": "AutoencoderKL", "scaling_factor": 0}`,
		"latents_mean":                     `{"_class_name": "AutoencoderKL", "latents_mean": [1], "latents_std": [1]}`,
		"latents_std[2]":                   `{"_class_name": "AutoencoderKL", "latents_mean": [0,0,0,0], "latents_std": [1,1,0,1]}`,
		"klFile.latents_std":               `{"_class_name": "AutoencoderKL", "latents_mean": [0,0,0,0], "latents_std": [1,1,NaN,1]}`,
		"wanFile.latents_mean":             `{"_class_name": "AutoencoderKLQwenImage", "latents_mean": [1,-Infinity], "latents_std": [1,1]}`,
		"16 and 16 numbers for 8 channels": `{"_class_name": "AutoencoderKLQwenImage", "z_dim": 8}`,
		"temperal_downsample":              `{"_class_name": "AutoencoderKLWan", "temperal_downsample": [true]}`,
		"dim_mult":                         `{"_class_name": "AutoencoderKLWan", "dim_mult": []}`,
		"cannot be halved":                 `{"_class_name": "AutoencoderKLWan", "base_dim": 3, "dim_mult": [1,1,2], "temperal_downsample": [true,true]}`,
		"do not make":                      `{"_class_name": "AutoencoderKLQwenImage21", "dim_mult": [1,1,7,3,1]}`,
		"num_res_blocks":                   `{"_class_name": "AutoencoderKLWan", "num_res_blocks": null}`,
		"patch_size":                       `{"_class_name": "AutoencoderKLWan", "patch_size": 3}`,
		"patch_size: [1 1]":                `{"_class_name": "AutoencoderKLFlux2", "patch_size": [1,1]}`,
		"batch_norm_eps":                   `{"_class_name": "AutoencoderKLFlux2", "batch_norm_eps": 0}`,
		"up_block_types: 1 for 2":          `{"_class_name": "AutoencoderKL", "up_block_types": ["UpDecoderBlock2D"], "block_out_channels": [32,32]}`,
		"decoder_block_types[3]":           `{"_class_name": "AutoencoderDC", "decoder_block_types": ["ResBlock","ResBlock","ResBlock","x","ResBlock","ResBlock"]}`,
		"decoder_block_types: 2":           `{"_class_name": "AutoencoderDC", "decoder_block_types": ["ResBlock","ResBlock"]}`,
		"decoder_norm_types[0]":            `{"_class_name": "AutoencoderDC", "decoder_norm_types": "layer_norm"}`,
		"decoder_act_fns[0]":               `{"_class_name": "AutoencoderDC", "decoder_act_fns": "mish"}`,
		"decoder_conv_act_fn":              `{"_class_name": "AutoencoderDC", "decoder_conv_act_fn": "mish"}`,
		"upsample_block_type":              `{"_class_name": "AutoencoderDC", "upsample_block_type": "bilinear"}`,
		"a kernel of 4":                    `{"_class_name": "AutoencoderDC", "decoder_block_types": "EfficientViTBlock", "decoder_qkv_multiscales": [[4]]}`,
		"latent_channels: 48":              `{"_class_name": "AutoencoderDC", "latent_channels": 48}`,
		"attention_head_dim":               `{"_class_name": "AutoencoderDC", "attention_head_dim": 4096, "decoder_block_types": "EfficientViTBlock"}`,
		"upsample_fn":                      `{"_class_name": "AutoencoderTiny", "upsample_fn": "bilinear"}`,
		"is not relu":                      `{"_class_name": "AutoencoderTiny", "act_fn": "silu"}`,
		"are not all equal":                `{"_class_name": "AutoencoderTiny", "decoder_block_out_channels": [64,32], "num_decoder_blocks": [1,1]}`,
		"4 widths and 1 layer":             `{"_class_name": "AutoencoderTiny", "num_decoder_blocks": [1]}`,
		"upsampling_scaling":               `{"_class_name": "AutoencoderTiny", "upsampling_scaling_factor": 16}`,
	} {
		if _, err := vae.ParseConfig([]byte(config)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one that names %q", config, err, want)
		}
	}
}

// copyOf is a decoder's folder that a test may change.
func copyOf(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", name))); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestTensorsThatAreMissingOrMisshapenAreNamed(t *testing.T) {
	dir := copyOf(t, "vae-sd3-nano")
	file := filepath.Join(dir, "config.json")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	config["layers_per_block"], config["latent_channels"] = 3, 8
	if data, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = vae.Load(context.Background(), dir, vae.Options{Runtime: orttest.Open(t), Threads: 1})
	for _, want := range []string{
		"tensor decoder.up_blocks.0.resnets.3.norm1.weight is missing",
		"tensor decoder.conv_in.weight has shape [32 16 3 3], the configuration demands [32 8 3 3]",
		"more tensors",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v\nlacks %q", err, want)
		}
	}
}

func TestFoldersWithoutADecoderAreErrors(t *testing.T) {
	o := vae.Options{Runtime: orttest.Open(t), Threads: 1}
	if _, err := vae.Load(context.Background(), t.TempDir(), o); err == nil || !strings.Contains(err.Error(), "config.json") {
		t.Errorf("an empty folder: %v", err)
	}
	dir := copyOf(t, "vae-tiny-nano")
	if err := os.Remove(filepath.Join(dir, "diffusion_pytorch_model.safetensors")); err != nil {
		t.Fatal(err)
	}
	if _, err := vae.Load(context.Background(), dir, o); err == nil || !strings.Contains(err.Error(), "safetensors") {
		t.Errorf("a folder without weights: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := vae.Load(context.Background(), dir, o); err == nil || !strings.Contains(err.Error(), "exceeds the limit") {
		t.Errorf("a config.json of 2 MiB: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := vae.Load(ctx, "testdata/vae-sd-nano", o); err == nil {
		t.Error("a cancelled load succeeds")
	}
}

// renamed is vae-sd-nano as checkpoints of before 2023 are laid out: the
// attention's matrices have other names and are 1x1 convolutions.
func renamed(t *testing.T) string {
	t.Helper()
	dir := copyOf(t, "vae-sd-nano")
	checkpoint, err := safetensors.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	old := strings.NewReplacer("to_q", "query", "to_k", "key", "to_v", "value", "to_out.0", "proj_attn")
	var tensors []safetensors.Source
	for _, name := range checkpoint.Names() {
		tensor, _ := checkpoint.Tensor(name)
		data, err := checkpoint.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		shape := tensor.Shape
		if strings.Contains(name, "attentions.0.to_") && len(shape) == 2 {
			shape = []int64{shape[0], shape[1], 1, 1}
		}
		tensors = append(tensors, source(old.Replace(name), tensor.DType, shape, data))
	}
	if err := safetensors.Write(filepath.Join(dir, "diffusion_pytorch_model.safetensors"), tensors); err != nil {
		t.Fatal(err)
	}
	return dir
}

func source(name string, dtype safetensors.DType, shape []int64, data []byte) safetensors.Source {
	return safetensors.Source{Name: name, DType: dtype, Shape: shape, Fill: func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}}
}

func TestTheLayoutOfOlderCheckpointsIsTheSameDecoder(t *testing.T) {
	older, err := vae.Load(context.Background(), renamed(t), vae.Options{Runtime: orttest.Open(t), Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer older.Close()
	latents := array(t, "vae-sd-nano.8x8.latents")
	want, got := decodeAll(t, load(t, "vae-sd-nano", vae.Options{}), latents), decodeAll(t, older, latents)
	for i := range want {
		if !bytes.Equal(got[i].Pix, want[i].Pix) {
			t.Errorf("image %d differs", i)
		}
	}
}

func TestPublishedWidthsPassEveryCheckWithoutTheirWeights(t *testing.T) {
	for name, config := range map[string][]byte{"sd35": vae.ConfigSD35, "flux": vae.ConfigFLUX, "taesd3": vae.ConfigTAESD3} {
		dir := t.TempDir()
		if err := vae.WriteRandom(dir, config, nil); err != nil { // a sparse file of zeros
			t.Fatal(err)
		}
		parameters, err := vae.CheckGraph(dir)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		t.Logf("%s: %d parameters", name, parameters)
		// 49.5 million in the decoders of SD3.5 and FLUX, 1.2 million in TAESD3.
		if want := map[string]int64{"sd35": 49545475, "flux": 49545475, "taesd3": 1229443}[name]; parameters != want {
			t.Errorf("%s: %d parameters, want %d", name, parameters, want)
		}
	}
}

func TestLatentsAreUnscaledByMeanAndDeviationWhereGiven(t *testing.T) {
	// With mean m and deviation s, latents l are l*s/scale+m. Twice the
	// deviation and half the latents are the same.
	dir := copyOf(t, "vae-sd-nano")
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	withStd := strings.Replace(string(data), "{", `{"latents_mean": [0,0,0,0], "latents_std": [2,2,2,2],`, 1)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(withStd), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := vae.Load(context.Background(), dir, vae.Options{Runtime: orttest.Open(t), Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	latents := array(t, "vae-sd-nano.8x8.latents")
	values, _ := latents.Float32s()
	for i := range values {
		values[i] /= 2
	}
	got := decodeAll(t, d, reward.Float32Tensor(values, latents.Shape...))
	want := decodeAll(t, load(t, "vae-sd-nano", vae.Options{}), latents)
	if !bytes.Equal(got[0].Pix, want[0].Pix) {
		t.Error("the image differs")
	}
}
