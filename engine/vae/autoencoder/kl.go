package autoencoder

import (
	"fmt"
	"slices"

	"github.com/denseflow/densereward/engine/onnx"
)

// klDecoder is the decoder of diffusers' AutoencoderKL, as
// models/autoencoders/vae.py (class Decoder) has it:
//
//	post_quant_conv          1x1, where the configuration has one
//	decoder.conv_in          3x3 to the first width
//	decoder.mid_block        residual block, attention, residual block
//	decoder.up_blocks.i      residual blocks, then twice the size but for the last
//	decoder.conv_norm_out    normalise, silu
//	decoder.conv_out         3x3 to RGB
type klDecoder struct {
	channels int // of z
	// widths are the channels of each stage in the order of the decoder, from the
	// latents to the image; layers the residual blocks of each.
	widths, layers []int
	groups         int // of channels that are normalised together
	attention      bool
	postQuantConv  bool
	out            int
}

var _ architecture = klDecoder{}

// klFile is config.json of an AutoencoderKL and of an AutoencoderKLFlux2.
type klFile struct {
	LatentChannels *int      `json:"latent_channels"`
	OutChannels    *int      `json:"out_channels"`
	ActFn          *string   `json:"act_fn"`
	ScalingFactor  *float64  `json:"scaling_factor"`
	ShiftFactor    *float64  `json:"shift_factor"`
	LatentsMean    []float64 `json:"latents_mean"`
	LatentsStd     []float64 `json:"latents_std"`
	ForceUpcast    *bool     `json:"force_upcast"`

	BlockOutChannels        []int    `json:"block_out_channels"`
	DecoderBlockOutChannels []int    `json:"decoder_block_out_channels"` // AutoencoderKLFlux2 alone
	UpBlockTypes            []string `json:"up_block_types"`
	LayersPerBlock          *int     `json:"layers_per_block"`
	NormNumGroups           *int     `json:"norm_num_groups"`
	MidAttention            *bool    `json:"mid_block_add_attention"`
	PostQuantConv           *bool    `json:"use_post_quant_conv"`

	BatchNormEps *float64 `json:"batch_norm_eps"` // AutoencoderKLFlux2 alone
	PatchSize    []int    `json:"patch_size"`     // AutoencoderKLFlux2 alone
}

func parseKL(data []byte) (Config, error) {
	var f klFile
	if err := decodeJSON(data, &f); err != nil {
		return Config{}, err
	}
	if f.BlockOutChannels == nil {
		f.BlockOutChannels = []int{64}
	}
	d, err := f.decoder(f.BlockOutChannels, or(f.LatentChannels, 4), or(f.LayersPerBlock, 1))
	if err != nil {
		return Config{}, err
	}
	c := Config{
		LatentChannels: d.channels,
		ScalingFactor:  or(f.ScalingFactor, scalingSD), ShiftFactor: or(f.ShiftFactor, 0),
		LatentsMean: f.LatentsMean, LatentsStd: f.LatentsStd,
		TokenSide: patch, network: d,
	}
	// SD1.5's, SD3.5's and FLUX's say force_upcast as well, by default or in so many
	// words, and are run in half precision all the same. SDXL's and its descendants'
	// have four channels and another scale than SD1.5's.
	if c.LatentChannels == 4 && c.ScalingFactor != scalingSD && or(f.ForceUpcast, true) {
		c.Float32Only = "force_upcast: activations of SDXL's decoder overflow float16"
	}
	return c, nil
}

// scalingSD is the scaling_factor of Stable Diffusion 1 and 2.
const scalingSD = 0.18215

// decoder checks what both classes have. widths have the file's order, the
// encoder's.
func (f klFile) decoder(widths []int, channels, layers int) (klDecoder, error) {
	for i, kind := range f.UpBlockTypes {
		if kind != "UpDecoderBlock2D" {
			return klDecoder{}, fmt.Errorf("up_block_types[%d]: %.80q is not UpDecoderBlock2D", i, kind)
		}
	}
	if f.UpBlockTypes != nil && len(f.UpBlockTypes) != len(widths) {
		return klDecoder{}, fmt.Errorf("up_block_types: %d for %d widths", len(f.UpBlockTypes), len(widths))
	}
	if act := or(f.ActFn, "silu"); act != "silu" && act != "swish" {
		return klDecoder{}, fmt.Errorf("act_fn: %.80q is not silu", act)
	}
	d := klDecoder{
		channels: channels, widths: slices.Clone(widths), groups: or(f.NormNumGroups, 32),
		attention: or(f.MidAttention, true), postQuantConv: or(f.PostQuantConv, true), out: or(f.OutChannels, 3),
	}
	slices.Reverse(d.widths)
	for range widths {
		d.layers = append(d.layers, layers+1)
	}
	if d.groups < 1 {
		return klDecoder{}, fmt.Errorf("norm_num_groups: %d", d.groups)
	}
	for _, w := range widths {
		if w%d.groups != 0 {
			return klDecoder{}, fmt.Errorf("block_out_channels: %d is not a multiple of norm_num_groups %d", w, d.groups)
		}
	}
	if err := stages("block_out_channels", d.widths, d.layers, 1); err != nil {
		return klDecoder{}, err
	}
	return d, outputChannels("out_channels", d.out)
}

func (d klDecoder) scale() int { return 1 << (len(d.widths) - 1) }

func (d klDecoder) hidden() (channels, scale int) { return d.widths[0], 1 }

func (d klDecoder) clamps() bool { return false }

// groupNorms counts two a residual block and the last.
func (d klDecoder) groupNorms() (norms, groups int) {
	norms = 1
	for _, layers := range d.layers {
		norms += 2 * layers
	}
	return norms, d.groups
}

// global is the decoder's part at the size of the latents.
func (d klDecoder) global(n *network, z onnx.Value) onnx.Value {
	if d.postQuantConv {
		z = n.conv(z, "post_quant_conv", d.channels, d.channels, 1, true)
	}
	width := d.widths[0]
	x := n.conv(z, "decoder.conv_in", d.channels, width, 3, true)
	x = n.residual(x, "decoder.mid_block.resnets.0", width, width, d.groups)
	if d.attention {
		x = n.attention(x, "decoder.mid_block.attentions.0", width, d.groups)
	}
	return n.residual(x, "decoder.mid_block.resnets.1", width, width, d.groups)
}

// local is the rest. But for the statistics of its normalisations it sees only
// what is near.
func (d klDecoder) local(n *network, x onnx.Value) onnx.Value {
	width := d.widths[0]
	for i, out := range d.widths {
		stage := fmt.Sprintf("decoder.up_blocks.%d", i)
		for j := range d.layers[i] {
			x = n.residual(x, fmt.Sprintf("%s.resnets.%d", stage, j), width, out, d.groups)
			width = out
		}
		if i < len(d.widths)-1 {
			x = n.upsample(x, 2)
			x = n.conv(x, stage+".upsamplers.0.conv", width, width, 3, true)
		}
	}
	x = n.groupNorm(x, "decoder.conv_norm_out", width, d.groups, true)
	return n.conv(x, "decoder.conv_out", width, d.out, 3, true)
}

// residual is ResnetBlock2D: x plus two rounds of normalise, silu, convolve; x
// goes through a 1x1 convolution where the width changes.
func (n *network) residual(x onnx.Value, prefix string, in, out, groups int) (sum onnx.Value) {
	n.g.Scope(prefix, func() {
		h := n.groupNorm(x, prefix+".norm1", in, groups, true)
		h = n.conv(h, prefix+".conv1", in, out, 3, true)
		h = n.groupNorm(h, prefix+".norm2", out, groups, true)
		h = n.conv(h, prefix+".conv2", out, out, 3, true)
		if in != out {
			x = n.conv(x, prefix+".conv_shortcut", in, out, 1, true)
		}
		sum = n.g.Add(x, h)
	})
	return sum
}

// attention is x plus the attention of every cell of the normalised x to every
// other, in one head. Checkpoints of before 2023 have other names for the
// matrices.
func (n *network) attention(x onnx.Value, prefix string, width, groups int) (sum onnx.Value) {
	names := [4]string{"to_q", "to_k", "to_v", "to_out.0"}
	if n.has(prefix + ".query.weight") {
		names = [4]string{"query", "key", "value", "proj_attn"}
	}
	n.g.Scope(prefix, func() {
		rows := n.rows(n.groupNorm(x, prefix+".group_norm", width, groups, false))
		query := n.linear(rows, prefix+"."+names[0], width, width)
		key := n.linear(rows, prefix+"."+names[1], width, width)
		value := n.linear(rows, prefix+"."+names[2], width, width)
		attended := n.attend(query, key, value, width)
		sum = n.g.Add(x, n.cells(n.linear(attended, prefix+"."+names[3], width, width), x))
	})
	return sum
}
