package imagedoctor

import (
	"errors"
	"fmt"
	"slices"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/safetensors"
)

// weights hands out the checkpoint's tensors as values of the graph, each
// checked against the shape that the configuration demands. Faults are
// collected, so that one look at a broken checkpoint names them all.
type weights struct {
	g          *onnx.Graph
	checkpoint tensorSource
	casts      map[string]onnx.Value
	faults     []error
}

// tensorSource finds tensors by name: a checkpoint, or an inventory.
type tensorSource interface {
	Tensor(name string) (safetensors.Tensor, bool)
}

func newWeights(g *onnx.Graph, source tensorSource) *weights {
	return &weights{g: g, checkpoint: source, casts: map[string]onnx.Value{}}
}

// maxFaults bounds how many bad tensors an error lists.
const maxFaults = 16

// err is what was wrong with the tensors asked for so far.
func (w *weights) err() error {
	if len(w.faults) > maxFaults {
		more := fmt.Errorf("and %d more tensors", len(w.faults)-maxFaults)
		return errors.Join(append(slices.Clone(w.faults[:maxFaults]), more)...)
	}
	return errors.Join(w.faults...)
}

// fault records what is wrong with a tensor and returns a stand-in of the right
// shape, so that the graph can be built to its end and all faults be named.
func (w *weights) fault(dtype onnx.DType, dims []int64, format string, args ...any) onnx.Value {
	w.faults = append(w.faults, fmt.Errorf(format, args...))
	return w.g.Input(fmt.Sprintf("fault_%d", len(w.faults)), dtype, onnx.Dims(dims...))
}

// tensor is the checkpoint's tensor name, which must have the shape dims, as
// dtype. The cast happens once, when a session loads the graph.
func (w *weights) tensor(name string, dtype onnx.DType, dims ...int64) onnx.Value {
	key := fmt.Sprintf("%s as %v", name, dtype)
	if v, ok := w.casts[key]; ok {
		return v
	}
	if list, ok := w.checkpoint.(*inventory); ok {
		list.add(name, dims)
	}
	t, ok := w.checkpoint.Tensor(name)
	if !ok {
		return w.remember(key, w.fault(dtype, dims, "imagedoctor: tensor %s is missing", name))
	}
	if !slices.Equal(t.Shape, dims) {
		return w.remember(key, w.fault(dtype, dims, "imagedoctor: tensor %s has shape %v, the configuration demands %v", name, t.Shape, dims))
	}
	stored, ok := storedType(t.DType)
	if !ok {
		return w.remember(key, w.fault(dtype, dims, "imagedoctor: tensor %s is %v; BF16, F16 and F32 can be used", name, t.DType))
	}
	v := w.g.Initializer(name, stored, onnx.Dims(dims...), onnx.Location{File: t.File, Offset: t.Offset, Length: t.Length})
	return w.remember(key, w.g.Cast(v, dtype))
}

// once makes a value of weights, the first time key is asked for.
func (w *weights) once(key string, make func(top *onnx.Graph) onnx.Value) onnx.Value {
	if v, ok := w.casts[key]; ok {
		return v
	}
	return w.remember(key, make(w.g))
}

func (w *weights) remember(key string, v onnx.Value) onnx.Value {
	w.casts[key] = v
	return v
}

func storedType(d safetensors.DType) (onnx.DType, bool) {
	switch d {
	case safetensors.BF16:
		return onnx.BFloat16, true
	case safetensors.F16:
		return onnx.Float16, true
	case safetensors.F32:
		return onnx.Float32, true
	}
	return onnx.Invalid, false
}

// linear is x times the weight prefix.weight (out,in), plus prefix.bias.
func (w *weights) linear(g *onnx.Graph, x onnx.Value, prefix string, out, in int) onnx.Value {
	weight := w.tensor(prefix+".weight", x.DType(), int64(out), int64(in))
	bias := w.tensor(prefix+".bias", x.DType(), int64(out))
	return g.Linear(x, weight, bias)
}

// linearNoBias is x times the weight prefix.weight (out,in).
func (w *weights) linearNoBias(g *onnx.Graph, x onnx.Value, prefix string, out, in int) onnx.Value {
	return g.Linear(x, w.tensor(prefix+".weight", x.DType(), int64(out), int64(in)), onnx.Value{})
}

// part is one of several linear layers that are joined: name.weight (out,in) and
// name.bias (out).
type part struct {
	name string
	out  int
}

// joined stacks the weights and biases of layers with one input.
func (w *weights) joined(dtype onnx.DType, in int, parts []part) (weight, bias onnx.Value) {
	key := parts[0].name + " and others"
	if v, ok := w.casts[key]; ok {
		return v, w.casts[key+" bias"]
	}
	weights, biases := make([]onnx.Value, len(parts)), make([]onnx.Value, len(parts))
	for i, p := range parts {
		weights[i] = w.tensor(p.name+".weight", dtype, int64(p.out), int64(in))
		biases[i] = w.tensor(p.name+".bias", dtype, int64(p.out))
	}
	weight = w.remember(key, w.g.Concat(0, onnx.Dim{}, weights...))
	bias = w.remember(key+" bias", w.g.Concat(0, onnx.Dim{}, biases...))
	return weight, bias
}
