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
