package vae

import (
	"fmt"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/safetensors"
)

// Names of the graph's input and outputs; N pictures of latents (C,h,w), s
// pixels a side of a latent cell.
const (
	inputLatents  = "latents" // (N,C,h,w) float32, as a trainer holds them
	outputPicture = "picture" // (N,s*h,s*w,3) uint8
	outputDecoded = "decoded" // (N,3,s*h,s*w) float32: what diffusers' decode returns; probes only
)

// graphOptions choose between the forms of a decoder's graph.
type graphOptions struct {
	dtype  onnx.DType // of the activations: Float32 or Float16
	last   bool       // channels last, with operators that CUDA alone has
	probes bool
}

// buildGraph writes the decoder for the checkpoint's tensors. All tensors are
// checked; none is read.
func buildGraph(c Config, checkpoint *safetensors.Checkpoint, o graphOptions) (*onnx.Graph, error) {
	g := onnx.New("vae")
	n := &network{g: g, checkpoint: checkpoint, dtype: o.dtype, last: o.last}
	latents := g.Input(inputLatents, onnx.Float32, onnx.Shape{
		onnx.Sym("batch"), onnx.N(int64(c.LatentChannels)), onnx.Sym("height"), onnx.Sym("width"),
	})
	z := g.Cast(unscale(g, c, latents), o.dtype)
	if o.last {
		z = g.Transpose(z, 0, 2, 3, 1)
	}
	var x onnx.Value
	switch c.Class {
	case classKL:
		x = n.kl(c, z)
	case classTiny:
		x = n.tiny(c, z)
	default:
		return nil, fmt.Errorf("vae: class %q", c.Class)
	}
	x = g.Cast(x, onnx.Float32)
	g.Output(outputPicture, picture(g, x, o.last))
	if o.probes {
		if o.last {
			x = g.Transpose(x, 0, 3, 1, 2)
		}
		g.Output(outputDecoded, x)
	}
	if err := n.err(); err != nil {
		return nil, err
	}
	return g, nil
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
func picture(g *onnx.Graph, x onnx.Value, last bool) onnx.Value {
	half := onnx.Scalar(g, float32(0.5))
	x = g.Clip(g.Add(g.Mul(x, half), half), 0, 1)
	bytes := g.Cast(g.Round(g.Mul(x, onnx.Scalar(g, float32(255)))), onnx.Uint8)
	if last {
		return bytes
	}
	return g.Transpose(bytes, 0, 2, 3, 1)
}
