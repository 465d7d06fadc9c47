package autoencoder

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
	statistics *statistics // of the whole image, for a network that sees a tile of it

	scale  int64            // rows and columns that a cell of the latents has become so far
	scales map[string]int64 // that at which each tensor is used

	// Multiply-adds of attention: those for each cell of the latents, and those
	// for each pair of them.
	perCell, perPair int64
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
// image's size. prefix.bias is used where bias is set.
func (n *network) conv(x onnx.Value, prefix string, in, out, kernel int, bias bool) onnx.Value {
	return n.convolve(x, n.tensor(prefix+".weight", n.dtype, out, in, kernel, kernel), n.bias(prefix, out, bias), kernel)
}

// convFrame is the causal convolution of one frame, the first: the kernel
// (out,in,t,k,k) is as long as it is wide, and all but its last slice meet the
// zeros before the beginning. It has a bias.
func (n *network) convFrame(x onnx.Value, prefix string, in, out, kernel int) onnx.Value {
	weight := n.tensor(prefix+".weight", n.dtype, out, in, kernel, kernel, kernel)
	slice := n.weights.Once("the last slice of "+prefix, func(g *onnx.Graph) onnx.Value {
		k := int64(kernel)
		return g.Reshape(g.Slice(weight, 2, k-1, k), onnx.N(int64(out)), onnx.N(int64(in)), onnx.N(k), onnx.N(k))
	})
	return n.convolve(x, slice, n.bias(prefix, out, true), kernel)
}

// convGroups is the convolution of x in groups of its channels, as many as come
// out.
func (n *network) convGroups(x onnx.Value, prefix string, channels, kernel, groups int, bias bool) onnx.Value {
	weight := n.tensor(prefix+".weight", n.dtype, channels, channels/groups, kernel, kernel)
	return n.g.ConvGroups(x, weight, n.bias(prefix, channels, bias), int64(kernel/2), int64(groups))
}

// bias is prefix.bias, or no value.
func (n *network) bias(prefix string, channels int, wanted bool) onnx.Value {
	if !wanted {
		return onnx.Value{}
	}
	return n.tensor(prefix+".bias", n.dtype, channels)
}

func (n *network) convolve(x, weight, bias onnx.Value, kernel int) onnx.Value {
	if n.last {
		return n.g.ConvLast(x, n.g.Transpose(weight, 0, 2, 3, 1), bias)
	}
	return n.g.Conv(x, weight, bias, int64(kernel/2))
}

// normEpsilon is the epsilon of every group normalisation of AutoencoderKL.
const normEpsilon = 1e-6

// groupNorm is the group normalisation of x, followed by x*sigmoid(x) where silu
// is set.
func (n *network) groupNorm(x onnx.Value, prefix string, channels, groups int, silu bool) onnx.Value {
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

// rmsNorm divides each cell of x by the root of the mean square of its channels,
// multiplies by weight (C) and adds bias (C), where there is one.
func (n *network) rmsNorm(x, weight, bias onnx.Value, epsilon float32) onnx.Value {
	g := n.g
	if n.last {
		x = g.RMSNorm(x, weight, epsilon)
		if bias.Valid() {
			x = g.Add(x, bias)
		}
		return x
	}
	wide := g.Cast(x, onnx.Float32)
	root := g.Sqrt(g.Add(g.ReduceMean(g.Mul(wide, wide), 1, true), onnx.Scalar(g, epsilon)))
	x = g.Mul(g.Cast(g.Div(wide, root), n.dtype), column(g, weight))
	if bias.Valid() {
		x = g.Add(x, column(g, bias))
	}
	return x
}

// batchNorm normalises x by the statistics that training left, channels first.
func (n *network) batchNorm(x onnx.Value, prefix string, channels int) onnx.Value {
	g := n.g
	of := func(name string) onnx.Value { return column(g, n.tensor(prefix+name, onnx.Float32, channels)) }
	deviation := g.Sqrt(g.Add(of(".running_var"), onnx.Scalar(g, float32(1e-5))))
	factor := g.Div(of(".weight"), deviation)
	offset := g.Sub(of(".bias"), g.Mul(of(".running_mean"), factor))
	return g.Add(g.Mul(x, g.Cast(factor, n.dtype)), g.Cast(offset, n.dtype))
}

// column is a vector (C) as (C,1,1).
func column(g *onnx.Graph, v onnx.Value) onnx.Value {
	return g.Reshape(v, v.Dim(0), onnx.N(1), onnx.N(1))
}

// linear is x (N,L,in) times prefix.weight (out,in), plus prefix.bias.
func (n *network) linear(x onnx.Value, prefix string, in, out int) onnx.Value {
	return n.g.Linear(x, n.tensor(prefix+".weight", n.dtype, out, in), n.tensor(prefix+".bias", n.dtype, out))
}

// attend is the attention of every row of query (N,L,width) to every other, in
// one head.
func (n *network) attend(query, key, value onnx.Value, width int) onnx.Value {
	n.perPair += 2 * int64(width) * n.scale * n.scale * n.scale * n.scale
	return n.g.MultiHeadAttention(query, key, value, 1, 0)
}

// linearly counts multiply-adds that attention needs for each cell.
func (n *network) linearly(madds int) { n.perCell += int64(madds) * n.scale * n.scale }

func (n *network) upsample(x onnx.Value, factor int) onnx.Value {
	n.scale *= int64(factor)
	return n.g.UpsampleNearest(x, int64(factor), n.last)
}

// channelAxis is where x has its channels.
func (n *network) channelAxis() int {
	if n.last {
		return 3
	}
	return 1
}

// pick is x with the channels that order lists.
func (n *network) pick(x onnx.Value, order []int64) onnx.Value {
	return n.g.Gather(x, onnx.Const(n.g, order, int64(len(order))), n.channelAxis())
}

// shuffle lays the channels of x out as factor x factor pixels, as torch's
// pixel_shuffle does.
func (n *network) shuffle(x onnx.Value, factor int) onnx.Value {
	g, f := n.g, int64(factor)
	n.scale *= f
	if !n.last {
		return g.DepthToSpace(x, f)
	}
	channels, _ := x.Dim(3).Fixed()
	out := onnx.N(channels / f / f)
	apart := g.Reshape(x, x.Dim(0), x.Dim(1), x.Dim(2), out, onnx.N(f), onnx.N(f))
	sizes := g.Div(g.Mul(g.ShapeOf(x), onnx.Const(g, []int64{1, f, f, 1}, 4)), onnx.Const(g, []int64{1, 1, 1, f * f}, 4))
	return g.ReshapeLike(g.Transpose(apart, 0, 1, 4, 2, 5, 3), sizes,
		x.Dim(0), x.Dim(1).Times(onnx.N(f)), x.Dim(2).Times(onnx.N(f)), out)
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
