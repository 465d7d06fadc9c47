package initializers

import (
	"slices"

	"github.com/denseflow/densereward/engine/safetensors"
)

// An Inventory is a checkpoint that has whatever tensor a Set is asked for, in
// bfloat16: built against it, a graph lists the tensors of its configuration.
// The zero value is empty and ready.
type Inventory struct {
	tensors []safetensors.Tensor
	place   map[string]int
}

var _ Source = (*Inventory)(nil)

// Add lists a tensor, unless one of that name is listed.
func (l *Inventory) Add(name string, dims ...int64) {
	if _, ok := l.place[name]; ok {
		return
	}
	if l.place == nil {
		l.place = map[string]int{}
	}
	length := int64(2)
	for _, n := range dims {
		length *= n
	}
	l.place[name] = len(l.tensors)
	l.tensors = append(l.tensors, safetensors.Tensor{Name: name, DType: safetensors.BF16, Shape: slices.Clone(dims), Length: length})
}

// Tensor finds a tensor that is listed.
func (l *Inventory) Tensor(name string) (safetensors.Tensor, bool) {
	i, ok := l.place[name]
	if !ok {
		return safetensors.Tensor{}, false
	}
	return l.tensors[i], true
}

// Tensors are those listed, in the order in which they were asked for. They lie
// in no file.
func (l *Inventory) Tensors() []safetensors.Tensor { return slices.Clone(l.tensors) }
