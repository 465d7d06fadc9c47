package clip

import (
	"encoding/json"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/ort/orttest"
	"github.com/denseflow/densereward/engine/safetensors"
)

func TestATorchFileMayBeNamedItself(t *testing.T) {
	file := filepath.Join("testdata", "openclip", openCLIPWeights)
	m, err := Load(file, Options{Runtime: orttest.Open(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if folder := open(t, "openclip", Options{}); m.fingerprint != folder.fingerprint || m.config != folder.config {
		t.Errorf("by file %+v, by folder %+v", m.config, folder.config)
	}
}

func TestTheTokenizerMayLieElsewhere(t *testing.T) {
	dir := filepath.Join("testdata", "openclip")
	alone := t.TempDir()
	for _, name := range []string{openCLIPWeights, openCLIPConfigFile} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(alone, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	runtime := orttest.Open(t)
	if _, err := Load(alone, Options{Runtime: runtime}); err == nil {
		t.Fatal("a folder without a tokenizer was loaded")
	}
	want := open(t, "openclip", Options{}).fingerprint
	for _, tokenizer := range []string{dir, filepath.Join(dir, "tokenizer.json")} {
		m, err := Load(alone, Options{Runtime: runtime, Tokenizer: tokenizer})
		if err != nil {
			t.Fatal(err)
		}
		if m.fingerprint != want {
			t.Errorf("%s: another fingerprint", tokenizer)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestAFolderOfSeveralTorchFilesIsAmbiguous(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir, Options{}); err == nil || !strings.Contains(err.Error(), "neither") {
		t.Errorf("an empty folder: %v", err)
	}
	for _, name := range []string{"HPS_v2_compressed.pt", "HPS_v2.1_compressed.pt"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Load(dir, Options{}); err == nil || !strings.Contains(err.Error(), "HPS_v2.1_compressed.pt, HPS_v2_compressed.pt") {
		t.Errorf("error %v", err)
	}
}

// hole is a tensor without bytes on disk.
func hole(name string, shape ...int64) safetensors.Source {
	return safetensors.Source{Name: name, DType: safetensors.F16, Shape: shape}
}

// The shapes are those of open_clip's ViT-H-14, which HPSv2 is.
func TestShapesTellAViTHsConfiguration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := safetensors.Write(path, []safetensors.Source{
		hole("visual.conv1.weight", 1280, 3, 14, 14), hole("visual.positional_embedding", 257, 1280),
		hole("visual.transformer.resblocks.0.mlp.c_fc.bias", 5120), hole("visual.transformer.resblocks.31.attn.in_proj_weight", 3840, 1280),
		hole("token_embedding.weight", 49408, 1024), hole("positional_embedding", 77, 1024),
		hole("transformer.resblocks.0.mlp.c_fc.bias", 4096), hole("transformer.resblocks.23.attn.in_proj_weight", 3072, 1024),
		hole("text_projection", 1024, 1024),
	}); err != nil {
		t.Fatal(err)
	}
	c, err := safetensors.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := configOfShapes(c)
	want := Config{
		Vision:        Tower{HiddenSize: 1280, IntermediateSize: 5120, Layers: 32, Heads: 16, Activation: "gelu", LayerNormEps: 1e-5},
		Text:          Tower{HiddenSize: 1024, IntermediateSize: 4096, Layers: 24, Heads: 16, Activation: "gelu", LayerNormEps: 1e-5},
		ProjectionDim: 1024, VocabSize: 49408, Positions: 77, EOSTokenID: legacyEOS, ImageSize: 224, PatchSize: 14,
	}
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	// open_clip's own ViT-H-14.json says the same.
	parsed, _, err := parseOpenCLIPConfig([]byte(`{"model_cfg": {"embed_dim": 1024,
		"vision_cfg": {"image_size": 224, "layers": 32, "width": 1280, "head_width": 80, "patch_size": 14},
		"text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 1024, "heads": 16, "layers": 24}}}`))
	if err != nil || parsed != want {
		t.Errorf("%+v, %v", parsed, err)
	}
}

func TestShapesThatTellTooLittleAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		sources []safetensors.Source
		says    string
	}{
		"other names": {[]safetensors.Source{hole("a", 1)}, "visual.conv1.weight of 4 dimensions is missing"},
		"a ViT-L, which OpenAI trained with quick_gelu and others with gelu": {[]safetensors.Source{
			hole("visual.conv1.weight", 1024, 3, 14, 14), hole("visual.positional_embedding", 257, 1024),
			hole("visual.transformer.resblocks.0.mlp.c_fc.bias", 4096), hole("token_embedding.weight", 49408, 768),
			hole("positional_embedding", 77, 768), hole("transformer.resblocks.0.mlp.c_fc.bias", 3072), hole("text_projection", 768, 768),
		}, "either activation"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := safetensors.Write(filepath.Join(dir, "model.safetensors"), test.sources); err != nil {
				t.Fatal(err)
			}
			if _, err := Load(dir, Options{}); err == nil || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), openCLIPConfigFile) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestOpenCLIPConfigurationsThatAreNotSupportedAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		`{"model_cfg": {"embed_dim": 16, "vision_cfg": {"timm_model_name": "vit_base"}, "text_cfg": {}}}`:    "timm_model_name",
		`{"model_cfg": {"embed_dim": 16, "vision_cfg": {"layers": [3, 4, 6, 3]}, "text_cfg": {}}}`:           "only vision transformers",
		`{"model_cfg": {"embed_dim": 16, "vision_cfg": {"image_size": [224, 336]}, "text_cfg": {}}}`:         "image_size",
		`{"model_cfg": {"vision_cfg": {}, "text_cfg": {}}}`:                                                  "projection_dim is 0",
		`{"model_cfg": {"embed_dim": 16, "vision_cfg": {}, "text_cfg": {}}, "preprocess_cfg": {"std": [0]}}`: "std has 1 values",
		`{"model_cfg": {"embed_dim": 16, "vision_cfg": {"width": 7, "head_width": 9}, "text_cfg": {}}}`:      "num_attention_heads is 0",
		`{`: "unexpected end",
	} {
		if _, _, err := parseOpenCLIPConfig([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v", text, err)
		}
	}
}

// testdata/make_openclip.py wrote the head with torch.save and what torch computes.
func TestAnAestheticHeadMayBeATorchFile(t *testing.T) {
	h, err := loadHead("testdata/head.pth")
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open("testdata/head.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	var want struct{ Value float64 }
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	input := make([]float32, 24)
	for i := range input {
		input[i] = float32(i) / 24
	}
	if got := h.apply(input); math.Abs(got-want.Value) > 1e-6 {
		t.Errorf("%v, torch computes %v", got, want.Value)
	}
}
