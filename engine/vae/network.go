package vae

import (
	"errors"

	"github.com/denseflow/densereward/engine/initializers"
	"github.com/denseflow/densereward/engine/onnx"
)

// network writes a decoder's layers into a graph. Activations are (N,C,H,W),
// or (N,H,W,C) where last is set; weights are the checkpoint's, referenced in
// place and cast when a session loads them.
type network struct {
	g          *onnx.Graph
	weights    *initializers.Set
	dtype      onnx.DType // of the activations
	last       bool
	statistics *statistics // of the whole picture, for a network that sees a tile of it

	scale  int64            // rows and columns that a cell of the latents has become so far
	scales map[string]int64 // that at which each tensor is used
}

func newNetwork(source initializers.Source, dtype onnx.DType, last bool) *network {
	g := onnx.New("vae")
	return &network{
		g: g, weights: initializers.New(g, source, "vae"), dtype: dtype, last: last,
		scale: 1, scales: map[string]int64{},
	}
}

// has tells whether the checkpoint holds a tensor.
func (n *network) has(name string) bool {
	_, ok := n.weights.Lookup(name)
	return ok
}

// tensor is the checkpoint's tensor name, of the shape dims, as dtype.
func (n *network) tensor(name string, dtype onnx.DType, dims ...int) onnx.Value {
	n.scales[name] = n.scale
	shape := make([]int64, len(dims))
	for i, d := range dims {
		shape[i] = int64(d)
	}
	return n.weights.Tensor(name, dtype, shape...)
}

func (n *network) err() error { return errors.Join(n.weights.Err(), n.g.Err()) }

// conv is the convolution of x, of in channels, to out channels; it keeps the
// picture's size. prefix.bias is used where bias is set.
func (n *network) conv(x onnx.Value, prefix string, in, out, kernel int, bias bool) onnx.Value {
	weight := n.tensor(prefix+".weight", n.dtype, out, in, kernel, kernel)
	var b onnx.Value
	if bias {
		b = n.tensor(prefix+".bias", n.dtype, out)
	}
	if n.last {
		return n.g.ConvLast(x, n.g.Transpose(weight, 0, 2, 3, 1), b)
	}
	return n.g.Conv(x, weight, b, int64(kernel/2))
}

// normEpsilon is the epsilon of every group normalisation of AutoencoderKL.
const normEpsilon = 1e-6

// norm is the group normalisation of x, followed by x*sigmoid(x) where silu is
// set.
func (n *network) norm(x onnx.Value, prefix string, channels, groups int, silu bool) onnx.Value {
	if n.statistics != nil {
		return n.normTile(x, prefix, channels, groups, silu)
	}
	if n.last {
		weight, bias := n.tensor(prefix+".weight", onnx.Float32, channels), n.tensor(prefix+".bias", onnx.Float32, channels)
		return n.g.GroupNormLast(x, weight, bias, int64(groups), normEpsilon, silu)
	}
	weight, bias := n.tensor(prefix+".weight", n.dtype, channels), n.tensor(prefix+".bias", n.dtype, channels)
	x = n.g.GroupNorm(x, weight, bias, int64(groups), normEpsilon)
	if silu {
		x = n.g.Silu(x)
	}
	return x
}

// linear is x (N,L,C) times prefix.weight (C,C), plus prefix.bias.
func (n *network) linear(x onnx.Value, prefix string, channels int) onnx.Value {
	weight := n.tensor(prefix+".weight", n.dtype, channels, channels)
	return n.g.Linear(x, weight, n.tensor(prefix+".bias", n.dtype, channels))
}

func (n *network) upsample(x onnx.Value, factor int) onnx.Value {
	n.scale *= int64(factor)
	return n.g.UpsampleNearest(x, int64(factor), n.last)
}

// rows lays the cells of x out as a sequence: (N,H*W,C).
func (n *network) rows(x onnx.Value) onnx.Value {
	if n.last {
		return n.g.Reshape(x, x.Dim(0), x.Dim(1).Times(x.Dim(2)), x.Dim(3))
	}
	flat := n.g.Reshape(x, x.Dim(0), x.Dim(1), x.Dim(2).Times(x.Dim(3)))
	return n.g.Transpose(flat, 0, 2, 1)
}

// cells undoes rows; like is what rows was given.
func (n *network) cells(rows, like onnx.Value) onnx.Value {
	if !n.last {
		rows = n.g.Transpose(rows, 0, 2, 1)
	}
	return n.g.ReshapeLike(rows, n.g.ShapeOf(like), like.Shape()...)
}
