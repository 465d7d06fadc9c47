package vae

import (
	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/safetensors"
)

// Names of the graphs' inputs and outputs; N pictures of latents (C,h,w), s
// pixels a side of a latent cell.
const (
	inputLatents  = "latents" // (N,C,h,w) float32, as a trainer holds them
	outputPicture = "picture" // (N,s*h,s*w,3) uint8
	outputDecoded = "decoded" // (N,3,s*h,s*w) float32: what diffusers' decode returns; probes only

	// Of the two halves of an AutoencoderKL for pictures in tiles.
	hiddenName     = "hidden"     // (1,Widths[0],h,w) float32: what klMid gives and klUp takes
	inputKnown     = "known"      // () bool: use the statistics given, not the tile's own
	inputGiven     = "statistics" // (K,2,G) float32: mean and variance over the picture
	inputOwned     = "owned"      // (4) int64: top, left, bottom, right of the cells the tile owns
	outputMeasured = "measured"   // (K,2,G) float32: mean and variance over the cells owned
)

// part says which part of a decoder a graph holds.
type part int

const (
	whole part = iota
	upToMid
	fromMid
)

// graphOptions choose between the forms of a decoder's graph.
type graphOptions struct {
	dtype  onnx.DType // of the activations: Float32 or Float16
	last   bool       // channels last, with operators that CUDA alone has
	part   part       // of an AutoencoderKL
	probes bool
}

// buildGraph writes the decoder for the checkpoint's tensors. All tensors are
// checked; none is read.
func buildGraph(c Config, checkpoint *safetensors.Checkpoint, o graphOptions) (*onnx.Graph, error) {
	n := newNetwork(checkpoint, o.dtype, o.last)
	var x onnx.Value
	switch {
	case o.part == fromMid:
		n.last = false // its normalisations are written for channels first
		n.upGraph(c)
	case o.part == upToMid:
		n.midGraph(c)
	default:
		x = n.decoder(c, n.latents(c))
		n.g.Output(outputPicture, n.picture(x))
	}
	if o.probes {
		n.g.Output(outputDecoded, n.channelsFirst(x))
	}
	if err := n.err(); err != nil {
		return nil, err
	}
	return n.g, nil
}

// latents is what the decoder takes: the input, unscaled.
func (n *network) latents(c Config) onnx.Value {
	input := n.g.Input(inputLatents, onnx.Float32, onnx.Shape{
		onnx.Sym("batch"), onnx.N(int64(c.LatentChannels)), onnx.Sym("height"), onnx.Sym("width"),
	})
	z := n.g.Cast(unscale(n.g, c, input), n.dtype)
	if n.last {
		z = n.g.Transpose(z, 0, 2, 3, 1)
	}
	return z
}

// decoder is the picture of about [-1,1], as float32.
func (n *network) decoder(c Config, z onnx.Value) onnx.Value {
	if c.Class == classTiny {
		return n.g.Cast(n.tiny(c, z), onnx.Float32)
	}
	return n.g.Cast(n.kl(c, z), onnx.Float32)
}

// midGraph is the first half, for one whole picture.
func (n *network) midGraph(c Config) {
	x := n.g.Cast(n.klMid(c, n.latents(c)), onnx.Float32)
	n.g.Output(hiddenName, n.channelsFirst(x))
}

// upGraph is the second half, for one tile of a picture.
func (n *network) upGraph(c Config) {
	g := n.g
	hidden := g.Input(hiddenName, onnx.Float32, onnx.Shape{
		onnx.N(1), onnx.N(int64(c.Widths[0])), onnx.Sym("height"), onnx.Sym("width"),
	})
	n.statistics = &statistics{
		known: g.Input(inputKnown, onnx.Bool, onnx.Shape{}),
		given: g.Input(inputGiven, onnx.Float32, onnx.Dims(int64(c.klUpNorms()), 2, int64(c.Groups))),
		owned: g.Input(inputOwned, onnx.Int64, onnx.Dims(4)),
	}
	x := g.Cast(n.klUp(c, g.Cast(hidden, n.dtype)), onnx.Float32)
	g.Output(outputPicture, n.picture(x))
	g.Output(outputMeasured, g.Concat(0, onnx.Dim{}, n.statistics.measured...))
}

func (n *network) channelsFirst(x onnx.Value) onnx.Value {
	if n.last {
		return n.g.Transpose(x, 0, 3, 1, 2)
	}
	return x
}

// unscale turns a trainer's latents into what the decoder takes.
func unscale(g *onnx.Graph, c Config, latents onnx.Value) onnx.Value {
	scale := onnx.Scalar(g, float32(c.ScalingFactor))
	if c.LatentsMean != nil {
		column := func(v []float64) onnx.Value {
			data := make([]float32, len(v))
			for i := range v {
				data[i] = float32(v[i])
			}
			return onnx.Const(g, data, int64(len(v)), 1, 1)
		}
		return g.Add(g.Div(g.Mul(latents, column(c.LatentsStd)), scale), column(c.LatentsMean))
	}
	return g.Add(g.Div(latents, scale), onnx.Scalar(g, float32(c.ShiftFactor)))
}

// picture turns x of about [-1,1] into bytes (N,H,W,3) as diffusers' image
// processor does: halved, moved to [0,1], clipped, times 255, rounded to even.
func (n *network) picture(x onnx.Value) onnx.Value {
	g := n.g
	half := onnx.Scalar(g, float32(0.5))
	x = g.Clip(g.Add(g.Mul(x, half), half), 0, 1)
	bytes := g.Cast(g.Round(g.Mul(x, onnx.Scalar(g, float32(255)))), onnx.Uint8)
	if n.last {
		return bytes
	}
	return g.Transpose(bytes, 0, 2, 3, 1)
}
