package vae

import (
	"errors"
	"fmt"
	"slices"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/safetensors"
)

// network writes a decoder's layers into a graph. Activations are (N,C,H,W),
// or (N,H,W,C) where last is set; weights are the checkpoint's, referenced in
// place and cast when a session loads them.
type network struct {
	g          *onnx.Graph
	checkpoint *safetensors.Checkpoint
	dtype      onnx.DType // of the activations
	last       bool
	statistics *statistics // of the whole picture, for a network that sees a tile of it
	scale      int64       // rows and columns that a cell of the latents has become so far
	faults     []error
	stands     int

	// demanded, where it is not nil, collects the tensors' shapes, and scales the
	// scale at which each is used; there is no checkpoint then.
	demanded map[string][]int64
	scales   map[string]int64
}

// demands is a network without a checkpoint, which collects what it would need.
func demands(c Config) (*network, error) {
	n := &network{
		g: onnx.New("vae"), dtype: onnx.Float32, scale: 1,
		demanded: map[string][]int64{}, scales: map[string]int64{},
	}
	n.decoder(c, n.latents(c))
	return n, n.err()
}

// has tells whether the checkpoint holds a tensor.
func (n *network) has(name string) bool {
	if n.demanded != nil {
		return false
	}
	_, ok := n.checkpoint.Tensor(name)
	return ok
}

// tensor is the checkpoint's tensor name as dtype. It must have the shape dims,
// but for dimensions of size 1. Faults are collected, so that one look at a
// broken checkpoint names them all; a stand-in takes the tensor's place.
func (n *network) tensor(name string, dtype onnx.DType, dims ...int) onnx.Value {
	shape := make([]int64, len(dims))
	for i, d := range dims {
		shape[i] = int64(d)
	}
	if n.demanded != nil {
		n.demanded[name], n.scales[name] = shape, n.scale
		return n.stand(dtype, shape)
	}
	t, ok := n.checkpoint.Tensor(name)
	if !ok {
		return n.fault(dtype, shape, "tensor %s is missing", name)
	}
	if !slices.Equal(squeezed(t.Shape), squeezed(shape)) {
		return n.fault(dtype, shape, "tensor %s has shape %v, the configuration demands %v", name, t.Shape, shape)
	}
	stored, ok := storedTypes[t.DType]
	if !ok {
		return n.fault(dtype, shape, "tensor %s is %v; BF16, F16 and F32 can be used", name, t.DType)
	}
	at := onnx.Location{File: t.File, Offset: t.Offset, Length: t.Length}
	return n.g.Cast(n.g.Initializer(name, stored, onnx.Dims(shape...), at), dtype)
}

// squeezed is shape without its dimensions of size 1: older checkpoints keep
// the attention's matrices as 1x1 convolutions.
func squeezed(shape []int64) []int64 {
	return slices.DeleteFunc(slices.Clone(shape), func(d int64) bool { return d == 1 })
}

var storedTypes = map[safetensors.DType]onnx.DType{
	safetensors.BF16: onnx.BFloat16,
	safetensors.F16:  onnx.Float16,
	safetensors.F32:  onnx.Float32,
}

func (n *network) fault(dtype onnx.DType, shape []int64, format string, args ...any) onnx.Value {
	n.faults = append(n.faults, fmt.Errorf("vae: "+format, args...))
	return n.stand(dtype, shape)
}

// stand is a stand-in for a tensor in a graph that is not going to run.
func (n *network) stand(dtype onnx.DType, shape []int64) onnx.Value {
	n.stands++
	return n.g.Input(fmt.Sprintf("stand_in_%d", n.stands), dtype, onnx.Dims(shape...))
}

// maxFaults bounds how many bad tensors an error lists.
const maxFaults = 16

func (n *network) err() error {
	faults := n.faults
	if len(faults) > maxFaults {
		faults = append(slices.Clone(faults[:maxFaults]), fmt.Errorf("and %d more tensors", len(n.faults)-maxFaults))
	}
	return errors.Join(append(faults, n.g.Err())...)
}

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
