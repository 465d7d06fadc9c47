package vae

import (
	"fmt"

	"github.com/denseflow/densereward/engine/onnx"
)

// kl writes the decoder of diffusers' AutoencoderKL, as models/autoencoders/
// autoencoder_kl.py and vae.py (class Decoder) have it: z (N,C,h,w) to a
// picture (N,3,8h,8w) of about [-1,1].
//
//	post_quant_conv          1x1, where the configuration has one
//	decoder.conv_in          3x3 to the first width
//	decoder.mid_block        residual block, attention, residual block
//	decoder.up_blocks.i      residual blocks, then twice the size but for the last
//	decoder.conv_norm_out    normalise, silu
//	decoder.conv_out         3x3 to RGB
func (n *network) kl(c Config, z onnx.Value) onnx.Value {
	return n.klUp(c, n.klMid(c, z))
}

// klMid is the decoder's part at the size of the latents, z (N,C,h,w) to
// (N,Widths[0],h,w). Its attention sees the whole picture.
func (n *network) klMid(c Config, z onnx.Value) onnx.Value {
	if c.PostQuantConv {
		z = n.conv(z, "post_quant_conv", c.LatentChannels, c.LatentChannels, 1, true)
	}
	width := c.Widths[0]
	x := n.conv(z, "decoder.conv_in", c.LatentChannels, width, 3, true)
	x = n.residual(x, "decoder.mid_block.resnets.0", width, width, c.Groups)
	if c.Attention {
		x = n.attention(x, "decoder.mid_block.attentions.0", width, c.Groups)
	}
	return n.residual(x, "decoder.mid_block.resnets.1", width, width, c.Groups)
}

// klUp is the rest, (N,Widths[0],h,w) to the picture (N,3,8h,8w). But for the
// statistics of its normalisations it sees only what is near.
func (n *network) klUp(c Config, x onnx.Value) onnx.Value {
	width := c.Widths[0]
	for i, out := range c.Widths {
		stage := fmt.Sprintf("decoder.up_blocks.%d", i)
		for j := range c.Layers[i] {
			x = n.residual(x, fmt.Sprintf("%s.resnets.%d", stage, j), width, out, c.Groups)
			width = out
		}
		if i < len(c.Widths)-1 {
			x = n.upsample(x, c.Upsampling)
			x = n.conv(x, stage+".upsamplers.0.conv", width, width, 3, true)
		}
	}
	x = n.norm(x, "decoder.conv_norm_out", width, c.Groups, true)
	return n.conv(x, "decoder.conv_out", width, 3, 3, true)
}

// klUpNorms is the number of normalisations in klUp.
func (c Config) klUpNorms() int {
	norms := 1
	for _, layers := range c.Layers {
		norms += 2 * layers
	}
	return norms
}

// residual is ResnetBlock2D: x plus two rounds of normalise, silu, convolve; x
// goes through a 1x1 convolution where the width changes.
func (n *network) residual(x onnx.Value, prefix string, in, out, groups int) (sum onnx.Value) {
	n.g.Scope(prefix, func() {
		h := n.norm(x, prefix+".norm1", in, groups, true)
		h = n.conv(h, prefix+".conv1", in, out, 3, true)
		h = n.norm(h, prefix+".norm2", out, groups, true)
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
		rows := n.rows(n.norm(x, prefix+".group_norm", width, groups, false))
		query := n.linear(rows, prefix+"."+names[0], width)
		key := n.linear(rows, prefix+"."+names[1], width)
		value := n.linear(rows, prefix+"."+names[2], width)
		attended := n.g.MultiHeadAttention(query, key, value, 1, 0)
		sum = n.g.Add(x, n.cells(n.linear(attended, prefix+"."+names[3], width), x))
	})
	return sum
}
