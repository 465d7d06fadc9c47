package autoencoder

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/denseflow/densereward/engine/initializers"
	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/safetensors"
)

// Configurations as they are published, for WriteRandom.
var (
	ConfigSD35 = []byte(`{"_class_name": "AutoencoderKL", "latent_channels": 16, "scaling_factor": 1.5305, "shift_factor": 0.0609,
 "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "norm_num_groups": 32, "use_post_quant_conv": false}
`)
	ConfigFLUX = []byte(`{"_class_name": "AutoencoderKL", "latent_channels": 16, "scaling_factor": 0.3611, "shift_factor": 0.1159,
 "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "norm_num_groups": 32, "use_post_quant_conv": false}
`)
	ConfigSDXL = []byte(`{"_class_name": "AutoencoderKL", "latent_channels": 4, "scaling_factor": 0.13025, "force_upcast": true,
 "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "norm_num_groups": 32}
`)
	ConfigFLUX2 = []byte(`{"_class_name": "AutoencoderKLFlux2", "latent_channels": 32, "block_out_channels": [128, 256, 512, 512],
 "layers_per_block": 2, "norm_num_groups": 32, "batch_norm_eps": 0.0001, "patch_size": [2, 2], "use_post_quant_conv": true}
`)
	ConfigQwenImage = []byte(`{"_class_name": "AutoencoderKLQwenImage", "base_dim": 96, "z_dim": 16, "dim_mult": [1, 2, 4, 4],
 "num_res_blocks": 2, "temperal_downsample": [false, true, true]}
`)
	ConfigQwenImage21 = []byte(`{"_class_name": "AutoencoderKLQwenImage21", "base_dim": 96, "decoder_base_dim": 144, "z_dim": 64,
 "dim_mult": [1, 2, 4, 8, 8], "num_res_blocks": 2, "temperal_downsample": [false, true, true, true], "is_residual": true,
 "in_channels": 4, "out_channels": 4}
`)
	ConfigWan21 = []byte(`{"_class_name": "AutoencoderKLWan", "base_dim": 96, "z_dim": 16, "dim_mult": [1, 2, 4, 4],
 "num_res_blocks": 2, "temperal_downsample": [false, true, true]}
`)
	ConfigWan22 = []byte(`{"_class_name": "AutoencoderKLWan", "base_dim": 160, "decoder_base_dim": 256, "z_dim": 48,
 "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2, "temperal_downsample": [false, true, true], "is_residual": true,
 "in_channels": 12, "out_channels": 12, "patch_size": 2, "latents_mean": null, "latents_std": null}
`)
	ConfigSANA = []byte(`{"_class_name": "AutoencoderDC", "latent_channels": 32, "attention_head_dim": 32,
 "decoder_block_types": ["ResBlock", "ResBlock", "ResBlock", "EfficientViTBlock", "EfficientViTBlock", "EfficientViTBlock"],
 "decoder_block_out_channels": [128, 256, 512, 512, 1024, 1024], "decoder_layers_per_block": [3, 3, 3, 3, 3, 3],
 "decoder_qkv_multiscales": [[], [], [], [5], [5], [5]], "upsample_block_type": "interpolate", "scaling_factor": 0.41407}
`)
	ConfigTAESD3 = []byte(`{"_class_name": "AutoencoderTiny", "latent_channels": 16, "scaling_factor": 1.0, "shift_factor": 0.0,
 "decoder_block_out_channels": [64, 64, 64, 64], "num_decoder_blocks": [3, 3, 3, 1]}
`)
)

// demands lists the tensors of a configuration in the order of their names. The
// network that has asked for them knows at what scale each is used.
func demands(c Config) ([]safetensors.Tensor, *network, error) {
	list := &initializers.Inventory{}
	n := newNetwork(list, onnx.Float32, false)
	n.decoder(c, n.latents(c))
	tensors := list.Tensors()
	slices.SortFunc(tensors, func(a, b safetensors.Tensor) int { return strings.Compare(a.Name, b.Name) })
	return tensors, n, n.err()
}

// WriteRandom writes a decoder of the configuration, the contents of a
// config.json, with random bfloat16 weights into the folder dir, in diffusers'
// layout: for measuring without the published weights. The numbers are drawn
// from random so that activations keep their size; where it is nil the weights
// are zeros in a sparse file.
func WriteRandom(dir string, config []byte, random *rand.Rand) error {
	c, err := ParseConfig(config)
	if err != nil {
		return err
	}
	tensors, _, err := demands(c)
	if err != nil {
		return err
	}
	sources := make([]safetensors.Source, len(tensors))
	for i, t := range tensors {
		sources[i] = safetensors.Source{Name: t.Name, DType: t.DType, Shape: t.Shape}
		if random != nil {
			sources[i].Fill = func(w io.Writer) error { return fill(w, t.Name, t.Shape, random) }
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), config, 0o644); err != nil {
		return fmt.Errorf("autoencoder: %w", err)
	}
	return safetensors.Write(filepath.Join(dir, "diffusion_pytorch_model.safetensors"), sources)
}

// fill writes a tensor: zeros for a bias or a mean, ones for the weight of a
// normalisation or a variance, normal numbers of variance 1/inputs for a matrix or
// kernel.
func fill(w io.Writer, name string, shape []int64, random *rand.Rand) error {
	elements, inputs := int64(1), int64(1)
	for i, d := range shape {
		elements *= d
		if i > 0 && (i != 2 || len(shape) < 5) { // one slice of a causal kernel meets the image
			inputs *= d
		}
	}
	deviation := 1 / math.Sqrt(float64(inputs))
	next := func() float32 { return float32(random.NormFloat64() * deviation) }
	switch {
	case strings.HasSuffix(name, ".bias"), strings.HasSuffix(name, ".running_mean"):
		next = func() float32 { return 0 }
	case len(shape) == 1, strings.HasSuffix(name, ".gamma"):
		next = func() float32 { return 1 }
	}
	out := bufio.NewWriter(w)
	for range elements {
		b := math.Float32bits(next())
		b += 0x7fff + b>>16&1 // to nearest, ties to even
		if _, err := out.Write(binary.LittleEndian.AppendUint16(out.AvailableBuffer(), uint16(b>>16))); err != nil {
			return err
		}
	}
	return out.Flush()
}

// MultiplyAdds is the number of multiplications that a decoder of the
// configuration needs for latents of height x width cells: those of its
// convolutions and of its attention.
func MultiplyAdds(config []byte, height, width int) (int64, error) {
	c, err := ParseConfig(config)
	if err != nil {
		return 0, err
	}
	tensors, n, err := demands(c)
	if err != nil {
		return 0, err
	}
	cells := int64(height) * int64(width)
	madds := cells*n.perCell + cells*cells*n.perPair
	for _, t := range tensors {
		if len(t.Shape) < 2 || strings.HasSuffix(t.Name, ".gamma") {
			continue
		}
		product := cells * n.scales[t.Name] * n.scales[t.Name]
		for axis, d := range t.Shape {
			if len(t.Shape) < 5 || axis != 2 { // one slice of a causal kernel
				product *= d
			}
		}
		madds += product
	}
	return madds, nil
}
