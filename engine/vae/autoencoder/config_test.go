package autoencoder

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/safetensors"
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
		if _, err := ParseConfig([]byte(config)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one that names %q", config, err, want)
		}
	}
}

// graphs builds every graph of a decoder.
func graphs(t *testing.T, path string) {
	t.Helper()
	m, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []Part{Whole, Global, Local} {
		if !m.Config.HasGlobal() && p != Whole {
			continue
		}
		for _, last := range []bool{false, true} {
			for _, dtype := range []onnx.DType{onnx.Float32, onnx.Float16} {
				g, err := m.Graph(Options{DType: dtype, Last: last, Part: p, Probes: p == Whole})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := g.Marshal(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func TestPublishedWidthsPassEveryCheckWithoutTheirWeights(t *testing.T) {
	for name, c := range map[string]struct {
		config     []byte
		parameters int64 // of diffusers' decoder, less what one frame does not meet
		gigamadds  int64 // for an image of 512x512
	}{
		"SD3.5":          {ConfigSD35, 49545475, 1257},
		"FLUX.1":         {ConfigFLUX, 49545475, 1257},
		"SDXL":           {ConfigSDXL, 49490199, 1257},
		"FLUX.2":         {ConfigFLUX2, 49620515, 1257},
		"Qwen-Image":     {ConfigQwenImage, 71524595, 550},
		"Qwen-Image 2.1": {ConfigQwenImage21, 253070484, 2121},
		"Wan 2.1":        {ConfigWan21, 71524595, 550},
		"Wan 2.2":        {ConfigWan22, 542464572, 1243},
		"SANA":           {ConfigSANA, 159223171, 1046},
		"TAESD3":         {ConfigTAESD3, 1229443, 70},
	} {
		dir := t.TempDir()
		if err := WriteRandom(dir, c.config, nil); err != nil { // a sparse file of zeros
			t.Fatal(err)
		}
		graphs(t, dir)
		m, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		var parameters int64
		for _, tensor := range m.parameters.Names() {
			found, _ := m.parameters.Tensor(tensor)
			n := int64(1)
			for _, d := range found.Shape {
				n *= d
			}
			parameters += n
		}
		if parameters != c.parameters {
			t.Errorf("%s: %d parameters, want %d", name, parameters, c.parameters)
		}
		cells := 512 / m.Config.PixelScale()
		if madds, err := MultiplyAdds(c.config, cells, cells); err != nil || madds/1e9 != c.gigamadds {
			t.Errorf("%s: %d multiply-adds, %v, want %d billion", name, madds, err, c.gigamadds)
		}
	}
}

func TestPythonsConstantsAreErrorsThatNameTheirKey(t *testing.T) {
	for text, want := range map[string]string{
		`{"a": NaN}`:                       `{"a": "NaN"}`,
		`{"a": [1, -Infinity, Infinity]}`:  `{"a": [1, "-Infinity", "Infinity"]}`,
		`{"NaN": "no NaN \" NaN", "b": 1}`: `{"NaN": "no NaN \" NaN", "b": 1}`,
	} {
		if got := string(quoteConstants([]byte(text))); got != want {
			t.Errorf("%s becomes %s, want %s", text, got, want)
		}
	}
}

func TestNamesOfSingleFilesAreThoseThatDiffusersConverts(t *testing.T) {
	data, err := os.ReadFile("../testdata/names.json")
	if err != nil {
		t.Fatal(err)
	}
	var names map[string]string
	if err := json.Unmarshal(data, &names); err != nil {
		t.Fatal(err)
	}
	if len(names) < 100 {
		t.Errorf("%d names", len(names))
	}
	of := originalNames(&safetensors.Checkpoint{}, "", 4)
	for ours, theirs := range names {
		if got := of(ours); got != theirs {
			t.Errorf("%s is called %s, want %s", ours, got, theirs)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	for _, c := range [][]byte{ConfigSD35, ConfigFLUX, ConfigSDXL, ConfigFLUX2, ConfigQwenImage, ConfigQwenImage21, ConfigWan21, ConfigWan22, ConfigSANA, ConfigTAESD3} {
		f.Add(c)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if json.Valid(data) && !bytes.Equal(quoteConstants(data), data) {
			t.Errorf("valid JSON %s becomes %s", data, quoteConstants(data))
		}
		c, err := ParseConfig(data)
		if err != nil {
			return
		}
		if c.PixelScale() < 1 || c.LatentChannels < 1 || c.TokenSide < 1 || c.GridSide < 1 {
			t.Errorf("%s makes %+v", data, c)
		}
		if _, _, err := demands(c); err != nil {
			t.Errorf("%s passes and makes no graph: %v", data, err)
		}
	})
}
