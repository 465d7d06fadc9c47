package models

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// readIndex reads the index of a checkpoint in two shards.
func readIndex(name string) ([]byte, error) {
	if name != "model.safetensors.index.json" {
		return nil, errors.New("not asked for")
	}
	return []byte(`{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}`), nil
}

func TestWhatCannotBePickedIsNamed(t *testing.T) {
	for _, test := range []struct {
		name  string
		names []string
		want  string // in the error
	}{
		{"several torch files", []string{"HPS_v2.pt", "HPS_v2.1_compressed.pt"}, "hf://ORG/NAME/HPS_v2.pt"},
		{"no model", []string{"README.md", "data.parquet"}, "neither"},
		{"a file and an index of diffusers", []string{"diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors.index.json"}, "out of date"},
		{"a pipeline without decoder", []string{"model_index.json", "unet/config.json"}, "vae"},
	} {
		if got, err := Needed(test.names, readIndex); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %q, %v", test.name, got, err)
		}
	}
}

func TestOnlyWhatIsReadIsPicked(t *testing.T) {
	for _, test := range []struct {
		name        string
		names, want []string
	}{
		{
			name:  "a checkpoint in shards",
			names: []string{"README.md", "config.json", "chat_template.json", "merges.txt", "vocab.json", "model.safetensors.index.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "old-00001-of-00001.safetensors"},
			want:  []string{"chat_template.json", "config.json", "merges.txt", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json", "vocab.json"},
		},
		{
			name:  "CLIP as openai has it",
			names: []string{"config.json", "flax_model.msgpack", "model.safetensors", "pytorch_model.bin", "tf_model.h5", "tokenizer.json", "preprocessor_config.json"},
			want:  []string{"config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"},
		},
		{
			name:  "CLIP as laion has it",
			names: []string{"config.json", "model.safetensors", "open_clip_model.safetensors", "open_clip_pytorch_model.bin", "pytorch_model.bin", "open_clip_config.json", "tokenizer.json"},
			want:  []string{"config.json", "model.safetensors", "open_clip_config.json", "tokenizer.json"},
		},
		{
			name:  "torch files alone, of which open_clip's is known",
			names: []string{"open_clip_pytorch_model.bin", "pytorch_model.bin", "tokenizer.json"},
			want:  []string{"open_clip_pytorch_model.bin", "tokenizer.json"},
		},
		{
			name:  "a pipeline of diffusers",
			names: []string{"model_index.json", "ae.safetensors", "flux1-dev.safetensors", "text_encoder/model.safetensors", "transformer/config.json", "transformer/diffusion_pytorch_model-00001-of-00003.safetensors", "vae/config.json", "vae/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.fp16.safetensors"},
			want:  []string{"model_index.json", "transformer/config.json", "vae/config.json", "vae/diffusion_pytorch_model.safetensors"},
		},
		{
			name:  "a decoder that has variants alone",
			names: []string{"config.json", "diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.bin"},
			want:  []string{"config.json", "diffusion_pytorch_model.fp16.safetensors"},
		},
		{name: "PP-OCR", names: []string{"det.onnx", "rec.onnx", "cls.onnx", "keys.txt"}, want: []string{"det.onnx", "rec.onnx"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Needed(test.names, readIndex)
			if slices.Sort(got); err != nil || !slices.Equal(got, test.want) {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
		})
	}
}

func TestModelsAreCalledByTheirOwnNames(t *testing.T) {
	for source, want := range map[string]string{
		"/models/sd3/vae": "vae", "/models/ae.safetensors": "ae", "org/FLUX.1-dev": "FLUX.1-dev", "org/FLUX.1-dev@v1": "FLUX.1-dev",
		"hf://org/FLUX.1-dev/ae.safetensors": "ae", "hf://org/sd3/vae": "sd3",
	} {
		if got := NameOf(source); got != want {
			t.Errorf("%s: got %q, want %q", source, got, want)
		}
	}
}
