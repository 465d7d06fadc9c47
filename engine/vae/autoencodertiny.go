package vae

import (
	"fmt"

	"github.com/denseflow/densereward/engine/onnx"
)

// tiny writes the decoder of diffusers' AutoencoderTiny (TAESD and its
// relatives), as models/autoencoders/vae.py (class DecoderTiny) has it: z
// (N,C,h,w) to a picture (N,3,8h,8w) of about [-1,1]. Its layers are one
// sequence, numbered through: a convolution and a ReLU; for each stage its
// blocks and, but for the last stage, an upsampling; a convolution, without a
// bias but for the last.
func (n *network) tiny(c Config, z onnx.Value) onnx.Value {
	g := n.g
	three := g.ScalarOf(z.DType(), 3)
	x := g.Mul(g.Tanh(g.Div(z, three)), three) // a soft limit to (-3,3)
	width, layer := c.Widths[0], 0
	next := func() string {
		layer++
		return fmt.Sprintf("decoder.layers.%d", layer-1)
	}
	x = g.Relu(n.conv(x, next(), c.LatentChannels, width, 3, true))
	next() // the ReLU has a number of its own
	for i, blocks := range c.Layers {
		for range blocks {
			x = n.tinyBlock(x, next(), width)
		}
		if i == len(c.Layers)-1 {
			x = n.conv(x, next(), width, 3, 3, true)
			continue
		}
		x = n.upsample(x, c.Upsampling)
		next()
		x = n.conv(x, next(), width, width, 3, false)
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
