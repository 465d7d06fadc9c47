package autoencoder

import (
	"github.com/denseflow/densereward/engine/onnx"
)

// Names of the graphs' inputs and outputs, in their order; N images of latents
// (C,h,w), s pixels a side of a latent cell.
const (
	inputLatents  = "latents" // (N,C,h,w) float32, as a trainer holds them
	outputImage   = "image"   // (N,s*h,s*w,3) uint8
	outputSum     = "sum"     // (N) float32: of all values of an image, finite if they are
	outputDecoded = "decoded" // (N,3,s*h,s*w) float32: what diffusers' decode returns; probes only
	outputZ       = "z"       // (N,C,h,w) float32: what it takes; probes only

	// Of the two parts of a decoder for images in tiles. The statistics are inputs
	// and outputs only where the decoder has normalisations that go by them.
	hiddenName     = "hidden"     // (1,C,h,w) float32: what the global part gives and the local one takes
	inputKnown     = "known"      // () bool: use the statistics given, not the tile's own
	inputGiven     = "statistics" // (K,2,G) float32: mean and variance over the image
	inputOwned     = "owned"      // (4) int64: top, left, bottom, right of the cells the tile owns
	outputMeasured = "measured"   // (K,2,G) float32: mean and variance over the cells owned
)

// Part says which part of a decoder a graph holds.
type Part int

// The parts. Whole takes latents and gives images and sums; Global takes latents
// and gives what is hidden; Local takes that, and the statistics known, the
// statistics and the cells owned where it has any, and gives images, sums and the
// statistics measured.
const (
	Whole Part = iota
	Global
	Local
)

// Options choose between the forms of a decoder's graph.
type Options struct {
	DType  onnx.DType // of the activations: Float32 or Float16
	Last   bool       // channels last where possible, with operators that CUDA alone has
	Part   Part
	Probes bool // of Whole: give what diffusers' decode returns and takes, too
}

// Graph writes the decoder for the checkpoint's tensors. All tensors are checked;
// none is read.
func (m *Model) Graph(o Options) (*onnx.Graph, error) {
	c := m.Config
	if norms, _ := c.network.groupNorms(); norms > 0 && o.Part == Local {
		o.Last = false // those of tiles are written for channels first
	}
	if c.Class == classDC {
		o.Last = false
	}
	n := newNetwork(m.parameters, o.DType, o.Last)
	switch o.Part {
	case Local:
		n.localGraph(c)
	case Global:
		x := n.g.Cast(c.network.global(n, n.latents(c)), onnx.Float32)
		n.g.Output(hiddenName, n.channelsFirst(x))
	default:
		z := n.latents(c)
		x := n.decoder(c, z)
		n.outputs(x)
		if o.Probes {
			if c.network.clamps() {
				x = n.g.Clip(x, -1, 1)
			}
			n.g.Output(outputDecoded, n.channelsFirst(x))
			n.g.Output(outputZ, n.g.Cast(n.channelsFirst(z), onnx.Float32))
		}
	}
	if err := n.err(); err != nil {
		return nil, err
	}
	return n.g, nil
}

// decoder is the image of about [-1,1], as float32.
func (n *network) decoder(c Config, z onnx.Value) onnx.Value {
	return n.g.Cast(c.network.local(n, c.network.global(n, z)), onnx.Float32)
}

// latents is what the decoder takes: the input as z.
func (n *network) latents(c Config) onnx.Value {
	g := n.g
	input := g.Input(inputLatents, onnx.Float32, onnx.Shape{
		onnx.Sym("batch"), onnx.N(int64(c.LatentChannels)), onnx.Sym("height"), onnx.Sym("width"),
	})
	z := n.unscale(c, input)
	if c.patchified() {
		n.scale *= patch
		z = g.DepthToSpace(z, patch)
	}
	z = g.Cast(z, n.dtype)
	if n.last {
		z = g.Transpose(z, 0, 2, 3, 1)
	}
	return z
}

// unscale undoes what was done to z so that a flow model's latents have about the
// size of noise, in the order of the pipelines' operations.
func (n *network) unscale(c Config, latents onnx.Value) onnx.Value {
	g := n.g
	scale := onnx.Scalar(g, float32(c.ScalingFactor))
	switch {
	case c.patchified():
		variance := n.tensor(batchNormVar, onnx.Float32, c.LatentChannels)
		deviation := g.Sqrt(g.Add(variance, onnx.Scalar(g, float32(c.BatchNormEps))))
		mean := n.tensor(batchNormMean, onnx.Float32, c.LatentChannels)
		return g.Add(g.Mul(latents, column(g, deviation)), column(g, mean))
	case c.LatentsMean != nil:
		of := func(v []float64) onnx.Value {
			data := make([]float32, len(v))
			for i := range v {
				data[i] = float32(v[i])
			}
			return onnx.Const(g, data, int64(len(v)), 1, 1)
		}
		if c.Class == classWan || c.Class == classQwenImage { // their pipelines divide by the inverse
			inverse := make([]float64, len(c.LatentsStd))
			for i, s := range c.LatentsStd {
				inverse[i] = float64(1 / float32(s))
			}
			return g.Add(g.Div(latents, of(inverse)), of(c.LatentsMean))
		}
		return g.Add(g.Div(g.Mul(latents, of(c.LatentsStd)), scale), of(c.LatentsMean))
	}
	return g.Add(g.Div(latents, scale), onnx.Scalar(g, float32(c.ShiftFactor)))
}

// localGraph is the second part, for one tile of an image.
func (n *network) localGraph(c Config) {
	g := n.g
	channels, _ := c.Hidden()
	hidden := g.Input(hiddenName, onnx.Float32, onnx.Shape{
		onnx.N(1), onnx.N(int64(channels)), onnx.Sym("height"), onnx.Sym("width"),
	})
	if norms, groups := c.network.groupNorms(); norms > 0 {
		n.statistics = &statistics{
			known: g.Input(inputKnown, onnx.Bool, onnx.Shape{}),
			given: g.Input(inputGiven, onnx.Float32, onnx.Dims(int64(norms), 2, int64(groups))),
			owned: g.Input(inputOwned, onnx.Int64, onnx.Dims(4)),
		}
	}
	x := g.Cast(hidden, n.dtype)
	if n.last {
		x = g.Transpose(x, 0, 2, 3, 1)
	}
	n.outputs(g.Cast(c.network.local(n, x), onnx.Float32))
	if n.statistics != nil {
		g.Output(outputMeasured, g.Concat(0, onnx.Dim{}, n.statistics.measured...))
	}
}

func (n *network) channelsFirst(x onnx.Value) onnx.Value {
	if n.last {
		return n.g.Transpose(x, 0, 3, 1, 2)
	}
	return x
}

// outputs turns x of about [-1,1], with three channels or more, into bytes
// (N,H,W,3) as diffusers' image processor does: halved, moved to [0,1], clipped,
// times 255, rounded to even. Bytes do not show values that are not finite, their
// sum does.
func (n *network) outputs(x onnx.Value) {
	g := n.g
	if channels := x.Dim(n.channelAxis()); channels != onnx.N(3) {
		x = g.Slice(x, n.channelAxis(), 0, 3)
	}
	all := x.Dim(1).Times(x.Dim(2)).Times(x.Dim(3))
	half := onnx.Scalar(g, float32(0.5))
	unit := g.Clip(g.Add(g.Mul(x, half), half), 0, 1)
	bytes := g.Cast(g.Round(g.Mul(unit, onnx.Scalar(g, float32(255)))), onnx.Uint8)
	if !n.last {
		bytes = g.Transpose(bytes, 0, 2, 3, 1)
	}
	g.Output(outputImage, bytes)
	g.Output(outputSum, g.ReduceSum(g.Reshape(x, x.Dim(0), all), 1, false))
}
