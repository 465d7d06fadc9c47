package vae

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

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
	ConfigTAESD3 = []byte(`{"_class_name": "AutoencoderTiny", "latent_channels": 16, "scaling_factor": 1.0, "shift_factor": 0.0,
 "decoder_block_out_channels": [64, 64, 64, 64], "num_decoder_blocks": [3, 3, 3, 1]}
`)
)

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
	n, err := demands(c)
	if err != nil {
		return err
	}
	var tensors []safetensors.Source
	for _, name := range slices.Sorted(maps.Keys(n.demanded)) {
		shape := n.demanded[name]
		t := safetensors.Source{Name: name, DType: safetensors.BF16, Shape: shape}
		if random != nil {
			t.Fill = func(w io.Writer) error { return fill(w, name, shape, random) }
		}
		tensors = append(tensors, t)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), config, 0o644); err != nil {
		return fmt.Errorf("vae: %w", err)
	}
	return safetensors.Write(filepath.Join(dir, "diffusion_pytorch_model.safetensors"), tensors)
}

// fill writes a tensor: zeros for a bias, ones for the weight of a
// normalisation, normal numbers of variance 1/inputs for a matrix or kernel.
func fill(w io.Writer, name string, shape []int64, random *rand.Rand) error {
	elements, inputs := int64(1), int64(1)
	for i, d := range shape {
		elements *= d
		if i > 0 {
			inputs *= d
		}
	}
	deviation := 1 / math.Sqrt(float64(inputs))
	next := func() float32 { return float32(random.NormFloat64() * deviation) }
	switch {
	case strings.HasSuffix(name, ".bias"):
		next = func() float32 { return 0 }
	case len(shape) == 1:
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
	n, err := demands(c)
	if err != nil {
		return 0, err
	}
	cells := int64(height) * int64(width)
	var madds int64
	for name, shape := range n.demanded {
		if len(shape) < 2 {
			continue
		}
		product := cells * n.scales[name] * n.scales[name]
		for _, d := range shape {
			product *= d
		}
		madds += product
	}
	if c.Class == classKL && c.Attention {
		madds += 2 * cells * cells * int64(c.Widths[0])
	}
	return madds, nil
}
