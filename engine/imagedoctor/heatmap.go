package imagedoctor

import (
	"fmt"
	"math"

	"github.com/denseflow/densereward/engine/initializers"
	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
)

// heatmap writes the heatmap heads into a graph: SAM's mask decoder with a
// convolutional upscaling network. One query, made of the hidden state that
// predicted a special token, attends to the image's features and back; its
// product with the upscaled features is the map.
type heatmap struct {
	w     *initializers.Set
	dtype onnx.DType
	text  int // the language model's width
	width int // the heads' own width

	// The images of a batch have one grid of features.
	rows, cols onnx.Dim
	centres    onnx.Value // (cells,2) float32: column and row of each cell's centre, in [-1,1]
}

// Constants of the published module that no tensor tells.
const (
	heatmapDepth       = 2
	heatmapHeads       = 8
	heatmapNormEps     = 1e-5
	channelRMSEps      = 1e-8
	heatmapStages      = 4
	heatmapUpscale     = 1 << heatmapStages
	attentionDownscale = 2
)

// Tensors that tell the heads' widths.
const (
	maskTokensName = "heatmap.mask_tokens.weight"
	firstMLPName   = "heatmap.transformer.layers.0.mlp.lin1.weight"
)

// newHeatmap reads the heads' width off the mask token, and adds the input that
// tells the grid.
func newHeatmap(g *onnx.Graph, w *initializers.Set, text int, dtype onnx.DType) *heatmap {
	h := &heatmap{w: w, dtype: dtype, text: text, rows: onnx.Sym("grid_rows"), cols: onnx.Sym("grid_cols")}
	h.centres = g.Input(inputCentres, onnx.Float32, onnx.Shape{h.rows.Times(h.cols), onnx.N(2)})
	if t, ok := w.Lookup(maskTokensName); ok && len(t.Shape) == 2 {
		h.width = int(t.Shape[1])
	} else {
		w.Fault(dtype, []int64{1}, "tensor %s is missing or not a matrix", maskTokensName)
		h.width = heatmapHeads * attentionDownscale
	}
	if h.width%(heatmapHeads*attentionDownscale) != 0 {
		w.Fault(dtype, []int64{1}, "tensor %s: width %d is not a multiple of %d", maskTokensName, h.width, heatmapHeads*attentionDownscale)
	}
	return h
}

// kinds is the number of heatmaps of an image: misalignment and artifact.
const kinds = 2

// maps adds the heads: image features (B,rows,cols,text width) and the hidden
// states (B,kinds,text width) of two queries an image give maps
// (B,kinds,16*rows,16*cols) in (0,1).
func (h *heatmap) maps(g *onnx.Graph, image, hidden onnx.Value) (out onnx.Value) {
	g.Scope("heatmap", func() {
		batch, queries, width := hidden.Dim(0), hidden.Dim(0).Times(onnx.N(kinds)), onnx.N(int64(h.width))
		cells := h.rows.Times(h.cols)

		flat := g.ReshapeLike(image, g.Concat(0, onnx.Dim{}, g.SizeOf(image, 0), g.SizeOf(h.centres, 0), g.SizeOf(image, 3)), batch, cells, image.Dim(3))
		keys := h.project(g, g.Cast(flat, h.dtype), "image_hidden_fcs.0")
		keys = g.Add(keys, h.w.Tensor("prompt_encoder.no_mask_embed.weight", h.dtype, 1, int64(h.width)))
		pairs := g.Concat(0, onnx.Dim{}, g.SizeOf(hidden, 0), onnx.Const(g, []int64{kinds}, 1), g.SizeOf(h.centres, 0), onnx.Const(g, []int64{int64(h.width)}, 1))
		keys = g.Expand(g.Unsqueeze(keys, 1), pairs, batch, onnx.N(kinds), cells, width)
		sizes := g.Concat(0, onnx.Dim{}, onnx.Const(g, []int64{-1}, 1), g.SizeOf(h.centres, 0), onnx.Const(g, []int64{int64(h.width)}, 1))
		keys = g.ReshapeLike(keys, sizes, queries, cells, width)

		text := g.Reshape(g.Cast(hidden, h.dtype), queries, hidden.Dim(2))
		text = g.Reshape(h.project(g, text, "text_hidden_fcs.0"), queries, onnx.N(1), width)
		mask := g.Reshape(h.w.Tensor(maskTokensName, h.dtype, 1, int64(h.width)), onnx.N(1), onnx.N(1), width)
		tokens := g.Concat(1, onnx.Dim{}, g.Expand(mask, g.ShapeOf(text), queries, onnx.N(1), width), text)

		t := transformer{h, tokens, h.positions(g)}
		tokens, keys = t.run(g, tokens, keys)

		grid := g.Concat(0, onnx.Dim{}, onnx.Const(g, []int64{-1}, 1), g.SizeOf(image, 1), g.SizeOf(image, 2), onnx.Const(g, []int64{int64(h.width)}, 1))
		upscaled, channels := h.upscale(g, g.ReshapeLike(keys, grid, queries, h.rows, h.cols, width))
		weights := h.hypernetwork(g, g.Squeeze(g.Slice(tokens, 1, 0, 1), 1), channels)
		// One weight for each channel of a pixel: a product with a column.
		column := g.Reshape(weights, queries, onnx.N(1), onnx.N(int64(channels)), onnx.N(1))
		logits := g.Squeeze(g.MatMul(upscaled, column), 3)
		height, wide := upscaled.Dim(1), upscaled.Dim(2)
		shape := g.Concat(0, onnx.Dim{}, onnx.Const(g, []int64{-1, kinds}, 2), g.SizeOf(upscaled, 1), g.SizeOf(upscaled, 2))
		out = g.Sigmoid(g.Cast(g.ReshapeLike(logits, shape, batch, onnx.N(kinds), height, wide), onnx.Float32))
	})
	return out
}

// project is the Linear, ReLU, Linear that takes a language-model state to the
// heads' width.
func (h *heatmap) project(g *onnx.Graph, x onnx.Value, prefix string) onnx.Value {
	return h.w.Linear(g, g.Relu(h.w.Linear(g, x, prefix+".0", h.text, h.text)), prefix+".2", h.width, h.text)
}

// positions is SAM's random Fourier encoding (1,cells,width) of the grid's cell
// centres: 2*pi times the centre in [-1,1] times a Gaussian matrix, sines first.
func (h *heatmap) positions(g *onnx.Graph) onnx.Value {
	half := int64(h.width / 2)
	matrix := h.w.Tensor("prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", onnx.Float32, 2, half)
	byX := g.Mul(g.Slice(h.centres, 1, 0, 1), g.Slice(matrix, 0, 0, 1))
	byY := g.Mul(g.Slice(h.centres, 1, 1, 2), g.Slice(matrix, 0, 1, 2))
	angles := g.Mul(g.Add(byX, byY), onnx.Scalar(g, float32(2*math.Pi)))
	encoding := g.Concat(1, onnx.Dim{}, g.Sin(angles), g.Cos(angles))
	return g.Cast(g.Unsqueeze(encoding, 0), h.dtype)
}

// hypernetwork turns the mask token's state (N,width) into one weight for each
// upscaled channel (N,channels).
func (h *heatmap) hypernetwork(g *onnx.Graph, x onnx.Value, channels int) onnx.Value {
	const prefix = "heatmap.output_hypernetworks_mlps.0.layers."
	x = g.Relu(h.w.Linear(g, x, prefix+"0", h.width, h.width))
	x = g.Relu(h.w.Linear(g, x, prefix+"1", h.width, h.width))
	return h.w.Linear(g, x, prefix+"2", channels, h.width)
}

// upscale is the convolutional network: two 3x3 convolutions, then four stages
// that double the sides, each followed by a residual pair of convolutions, then
// a last convolution. x is (N,rows,cols,width); the result (N,16*rows,16*cols,channels)
// has as many channels as are returned. Channels stand last, where the norm and
// the convolutions of a GPU want them.
func (h *heatmap) upscale(g *onnx.Graph, x onnx.Value) (onnx.Value, int) {
	const prefix = "heatmap.output_upscaling."
	full, half, quarter := h.width, h.width/2, h.width/4
	// The first two convolutions are rectified before their norm, all later ones
	// after it.
	for i, out := range []int{full, half} {
		conv := fmt.Sprintf("%sconv_layers.%d", prefix, 3*i)
		x = h.conv(g, x, conv, out, full, true)
		x = g.ChannelNorm(x, h.scale(fmt.Sprintf("%sconv_layers.%d", prefix, 3*i+2), out), onnx.Value{}, onnx.Value{}, channelRMSEps, onnx.RectifiedBefore)
	}
	in := half
	for i, out := range []int{full, half, half, quarter} {
		up := fmt.Sprintf("%sdeconv_layers.%d", prefix, i)
		weight := h.w.Tensor(up+".0.weight", h.dtype, int64(in), int64(out), 3, 3)
		x = channelsLast(g, g.ConvTranspose(channelsFirst(g, x), weight, onnx.Value{}))
		x = h.channelNorm(g, x, up+".1", up+".0", out, onnx.Value{})

		pair := fmt.Sprintf("%sconv_layers2.%d", prefix, i)
		y := h.channelNorm(g, h.conv(g, x, pair+".0", out, out, false), pair+".1", pair+".0", out, onnx.Value{})
		x = h.channelNorm(g, h.conv(g, y, pair+".3", out, out, false), pair+".4", pair+".3", out, x)
		in = out
	}
	return g.Relu(h.conv(g, x, prefix+"last_conv1", quarter, quarter, true)), quarter
}

// conv is a 3x3 convolution of x (N,H,W,in), whose sides it keeps. Its bias is
// left out where the norm behind it adds it.
func (h *heatmap) conv(g *onnx.Graph, x onnx.Value, prefix string, out, in int, withBias bool) onnx.Value {
	weight := h.w.Tensor(prefix+".weight", h.dtype, int64(out), int64(in), 3, 3)
	var bias onnx.Value
	if withBias {
		bias = h.w.Tensor(prefix+".bias", h.dtype, int64(out))
	}
	return channelsLast(g, g.Conv(channelsFirst(g, x), weight, bias, 1))
}

func channelsFirst(g *onnx.Graph, x onnx.Value) onnx.Value { return g.Transpose(x, 0, 3, 1, 2) }

func channelsLast(g *onnx.Graph, x onnx.Value) onnx.Value { return g.Transpose(x, 0, 2, 3, 1) }

// channelNorm adds the bias of the convolution conv to x (N,H,W,C), divides it by the root of its
// mean square over the channels and multiplies by a scale: the published module calls it
// LayerNorm. residual is added behind it, and the sum is rectified.
func (h *heatmap) channelNorm(g *onnx.Graph, x onnx.Value, prefix, conv string, channels int, residual onnx.Value) onnx.Value {
	bias := h.w.Tensor(conv+".bias", h.dtype, int64(channels))
	return g.ChannelNorm(x, h.scale(prefix, channels), bias, residual, channelRMSEps, onnx.RectifiedAfter)
}

// scale is the scale of a norm as a vector.
func (h *heatmap) scale(prefix string, channels int) onnx.Value {
	return h.w.Once("flat "+prefix, func(top *onnx.Graph) onnx.Value {
		return top.Reshape(h.w.Tensor(prefix+".scale", h.dtype, int64(channels), 1, 1), onnx.N(int64(channels)))
	})
}

// cellCentres are the column and row of the centre of each cell of a grid, (cells,2),
// in [-1,1] across the image.
func cellCentres(g checkpoint.Grid) ort.Tensor {
	var centres []float32
	for y := range g.Rows {
		for x := range g.Cols {
			centres = append(centres, 2*(float32(x)+0.5)/float32(g.Cols)-1, 2*(float32(y)+0.5)/float32(g.Rows)-1)
		}
	}
	return ort.Float32s([]int64{int64(g.Units()), 2}, centres)
}
