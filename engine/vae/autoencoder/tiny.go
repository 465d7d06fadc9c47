package autoencoder

import (
	"fmt"

	"github.com/denseflow/densereward/engine/onnx"
)

// tinyDecoder is the decoder of diffusers' AutoencoderTiny (TAESD and its
// relatives), as models/autoencoders/vae.py (class DecoderTiny) has it. Its
// layers are one sequence, numbered through: a convolution and a ReLU; for each
// stage its blocks and, but for the last stage, an upsampling; a convolution,
// without a bias but for the last. No layer sees the whole image.
type tinyDecoder struct {
	channels   int
	width      int
	layers     []int // blocks of each stage
	upsampling int   // how much a stage, all but the last, enlarges
	out        int
}

var _ architecture = tinyDecoder{}

// tinyFile is config.json of an AutoencoderTiny.
type tinyFile struct {
	LatentChannels *int     `json:"latent_channels"`
	OutChannels    *int     `json:"out_channels"`
	ActFn          *string  `json:"act_fn"`
	ScalingFactor  *float64 `json:"scaling_factor"`
	ShiftFactor    *float64 `json:"shift_factor"`
	DecoderWidths  []int    `json:"decoder_block_out_channels"`
	DecoderBlocks  []int    `json:"num_decoder_blocks"`
	Upsampling     *int     `json:"upsampling_scaling_factor"`
	UpsampleFn     *string  `json:"upsample_fn"`
}

func parseTiny(data []byte) (Config, error) {
	var f tinyFile
	if err := decodeJSON(data, &f); err != nil {
		return Config{}, err
	}
	if act := or(f.ActFn, "relu"); act != "relu" {
		return Config{}, fmt.Errorf("act_fn: %.80q is not relu", act)
	}
	if up := or(f.UpsampleFn, "nearest"); up != "nearest" {
		return Config{}, fmt.Errorf("upsample_fn: %.80q is not nearest", up)
	}
	d := tinyDecoder{channels: or(f.LatentChannels, 4), layers: f.DecoderBlocks, upsampling: or(f.Upsampling, 2), out: or(f.OutChannels, 3)}
	widths := f.DecoderWidths
	if widths == nil {
		widths = []int{64, 64, 64, 64}
	}
	if d.layers == nil {
		d.layers = []int{3, 3, 3, 1}
	}
	if err := stages("decoder_block_out_channels", widths, d.layers, 1); err != nil {
		return Config{}, err
	}
	d.width = widths[0]
	for _, w := range widths {
		if w != d.width {
			return Config{}, fmt.Errorf("decoder_block_out_channels: %v are not all equal", widths)
		}
	}
	if d.upsampling < 1 || d.upsampling > 4 {
		return Config{}, fmt.Errorf("upsampling_scaling_factor: %d: want 1 to 4", d.upsampling)
	}
	return Config{
		LatentChannels: d.channels, ScalingFactor: or(f.ScalingFactor, 1), ShiftFactor: or(f.ShiftFactor, 0),
		TokenSide: patch, network: d,
	}, outputChannels("out_channels", d.out)
}

func (d tinyDecoder) scale() int {
	scale := 1
	for range len(d.layers) - 1 {
		scale *= d.upsampling
	}
	return scale
}

func (d tinyDecoder) hidden() (channels, scale int) { return 0, 1 }

func (d tinyDecoder) groupNorms() (norms, groups int) { return 0, 0 }

func (d tinyDecoder) clamps() bool { return false }

func (d tinyDecoder) global(_ *network, z onnx.Value) onnx.Value { return z }

func (d tinyDecoder) local(n *network, z onnx.Value) onnx.Value {
	g := n.g
	three := g.ScalarOf(z.DType(), 3)
	x := g.Mul(g.Tanh(g.Div(z, three)), three) // a soft limit to (-3,3)
	layer := 0
	next := func() string {
		layer++
		return fmt.Sprintf("decoder.layers.%d", layer-1)
	}
	x = g.Relu(n.conv(x, next(), d.channels, d.width, 3, true))
	next() // the ReLU has a number of its own
	for i, blocks := range d.layers {
		for range blocks {
			x = n.tinyBlock(x, next(), d.width)
		}
		if i == len(d.layers)-1 {
			x = n.conv(x, next(), d.width, d.out, 3, true)
			continue
		}
		x = n.upsample(x, d.upsampling)
		next()
		x = n.conv(x, next(), d.width, d.width, 3, false)
	}
	// The decoder's range is [0,1].
	return g.Sub(g.Mul(x, g.ScalarOf(x.DType(), 2)), g.ScalarOf(x.DType(), 1))
}

// tinyBlock is AutoencoderTinyBlock: x plus three convolutions with ReLUs
// between them, then a ReLU.
func (n *network) tinyBlock(x onnx.Value, prefix string, width int) (sum onnx.Value) {
	n.g.Scope(prefix, func() {
		h := n.g.Relu(n.conv(x, prefix+".conv.0", width, width, 3, true))
		h = n.g.Relu(n.conv(h, prefix+".conv.2", width, width, 3, true))
		h = n.conv(h, prefix+".conv.4", width, width, 3, true)
		sum = n.g.Relu(n.g.Add(h, x))
	})
	return sum
}
