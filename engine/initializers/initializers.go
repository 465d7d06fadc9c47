// Package initializers makes the tensors of a checkpoint the initializers of an
// ONNX graph. Each is referenced where it lies in its safetensors file, checked
// against the shape that the model's configuration demands, and cast or copied
// once, when a session loads the graph.
//
// A graph that is built against an [Inventory] instead of a checkpoint lists the
// tensors of its configuration.
package initializers

import (
	"errors"
	"fmt"
	"slices"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/safetensors"
)

// A Source finds tensors by name: a safetensors.Checkpoint, or an Inventory.
type Source interface {
	Tensor(name string) (safetensors.Tensor, bool)
}

// A Set hands out the tensors of one checkpoint for one graph. What is wrong
// with them is collected, so that one look at a broken checkpoint names it all.
type Set struct {
	graph  *onnx.Graph
	source Source
	model  string
	values map[string]onnx.Value
	faults []error
}

// New makes a set for the graph g of a model, whose name errors begin with. g
// may be nil for a set of which nothing but Lookup is used.
func New(g *onnx.Graph, source Source, model string) *Set {
	return &Set{graph: g, source: source, model: model, values: map[string]onnx.Value{}}
}

// Lookup is what the checkpoint says of a tensor, for widths that no
// configuration names.
func (s *Set) Lookup(name string) (safetensors.Tensor, bool) { return s.source.Tensor(name) }

// Tensor is the checkpoint's tensor name as dtype. It must be BF16, F16 or F32
// and have the shape dims, dimensions of size 1 aside: some checkpoints keep
// matrices as 1x1 convolutions. Otherwise a stand-in takes its place, and Err
// tells.
func (s *Set) Tensor(name string, dtype onnx.DType, dims ...int64) onnx.Value {
	return s.Once(fmt.Sprintf("%s as %v", name, dtype), func(g *onnx.Graph) onnx.Value {
		if list, ok := s.source.(*Inventory); ok {
			list.Add(name, dims...)
		}
		t, ok := s.source.Tensor(name)
		if !ok {
			return s.Fault(dtype, dims, "tensor %s is missing", name)
		}
		if !slices.Equal(squeezed(t.Shape), squeezed(dims)) {
			return s.Fault(dtype, dims, "tensor %s has shape %v, the configuration demands %v", name, t.Shape, dims)
		}
		stored, ok := storedType(t.DType)
		if !ok {
			return s.Fault(dtype, dims, "tensor %s is %v; BF16, F16 and F32 can be used", name, t.DType)
		}
		at := onnx.Location{File: t.File, Offset: t.Offset, Length: t.Length}
		if stored == dtype && dtype != onnx.BFloat16 {
			return copied(g, name, dtype, dims, at)
		}
		return g.Cast(g.Initializer(name, stored, onnx.Dims(dims...), at), dtype)
	})
}

// copied is a tensor that a session holds in memory of its own. ONNX
// Runtime would map what it need not convert, and a file that is cut or written
// to under a running server would end the process or change its answers. What it
// computes when it loads a graph it keeps: a tensor of one dimension that gets
// its shape there is copied. Measured on 512 MB of matrices, loading takes a second
// a gigabyte longer and no more memory, since matrices are packed anyway; others
// take what bfloat16 takes as well once it is cast. (bfloat16 itself is computed
// with by GPUs alone, which have a copy in any case.)
func copied(g *onnx.Graph, name string, dtype onnx.DType, dims []int64, at onnx.Location) onnx.Value {
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	return g.Reshape(g.Initializer(name+" in one dimension", dtype, onnx.Dims(n), at), onnx.Dims(dims...)...)
}

// Once makes a value of tensors alone the first time that key is asked for. top
// is the outermost graph, where it is computed when a session loads.
func (s *Set) Once(key string, make func(top *onnx.Graph) onnx.Value) onnx.Value {
	if v, ok := s.values[key]; ok {
		return v
	}
	v := make(s.graph)
	s.values[key] = v
	return v
}

// Fault records what is wrong with a tensor and returns a stand-in of the right
// shape, so that the graph can be built to its end.
func (s *Set) Fault(dtype onnx.DType, dims []int64, format string, args ...any) onnx.Value {
	s.faults = append(s.faults, fmt.Errorf(s.model+": "+format, args...))
	return s.graph.Input(fmt.Sprintf("fault_%d", len(s.faults)), dtype, onnx.Dims(dims...))
}

// maxFaults bounds how many bad tensors an error lists.
const maxFaults = 16

// Err is what was wrong with the tensors asked for so far, nil if nothing was.
// A graph must not be run while it is not nil.
func (s *Set) Err() error {
	if len(s.faults) > maxFaults {
		more := fmt.Errorf("and %d more tensors", len(s.faults)-maxFaults)
		return errors.Join(append(slices.Clone(s.faults[:maxFaults]), more)...)
	}
	return errors.Join(s.faults...)
}

// squeezed is shape without its dimensions of size 1.
func squeezed(shape []int64) []int64 {
	return slices.DeleteFunc(slices.Clone(shape), func(d int64) bool { return d == 1 })
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
