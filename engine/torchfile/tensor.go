package torchfile

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/denseflow/densereward/engine/safetensors"
)

// storage is a block of elements that tensors are views of.
type storage struct {
	key      string // of its entry in the archive
	dtype    safetensors.DType
	elements int64
}

// tensor is a view of a storage.
type tensor struct {
	storage storage
	offset  int64 // in elements
	shape   []int64
	strides []int64
}

// storageTypes are the classes of storages that have one type. untyped storages
// get theirs from the tensor.
var storageTypes = map[global]safetensors.DType{
	"torch.FloatStorage": safetensors.F32, "torch.HalfStorage": safetensors.F16, "torch.BFloat16Storage": safetensors.BF16,
	"torch.DoubleStorage": safetensors.F64, "torch.LongStorage": safetensors.I64, "torch.IntStorage": safetensors.I32,
	"torch.ShortStorage": safetensors.I16, "torch.CharStorage": safetensors.I8, "torch.ByteStorage": safetensors.U8,
	"torch.BoolStorage": safetensors.Bool,
}

// functions are the calls that state dicts consist of. Each takes the arguments of
// the call.
var functions = map[global]func(arguments tuple) (any, error){
	"collections.OrderedDict":                    func(tuple) (any, error) { return &dict{}, nil },
	"torch._utils._rebuild_tensor_v2":            rebuildTensor,
	"torch._utils._rebuild_parameter":            rebuildParameter,
	"torch._utils._rebuild_parameter_with_state": rebuildParameter,
	"torch.device":                               nothing,
	"torch.Size":                                 nothing,
	"_codecs.encode":                             nothing, // bytes, as protocol 2 has them
}

func nothing(tuple) (any, error) { return opaque{}, nil }

// known reports whether a name is one that state dicts may hold. The types of
// elements occur as values.
func known(g global) bool {
	_, isStorage := storageTypes[g]
	_, isFunction := functions[g]
	return isStorage || isFunction || slices.Contains(dtypeNames, strings.TrimPrefix(string(g), "torch."))
}

var dtypeNames = []string{"float32", "float16", "bfloat16", "float64", "int64", "int32", "int16", "int8", "uint8", "bool"}

func call(function global, arguments tuple) (any, error) {
	f, ok := functions[function]
	if !ok {
		return nil, fmt.Errorf("%s is called, which is no function", function)
	}
	return f(arguments)
}

// rebuildTensor is torch._utils._rebuild_tensor_v2(storage, offset, size, stride,
// requires_grad, backward_hooks, metadata).
func rebuildTensor(arguments tuple) (any, error) {
	if len(arguments) < 4 {
		return nil, fmt.Errorf("a tensor of %d arguments", len(arguments))
	}
	s, ok := arguments[0].(storage)
	if !ok {
		return nil, errors.New("a tensor without a storage")
	}
	offset, ok := arguments[1].(int64)
	if !ok || offset < 0 {
		return nil, fmt.Errorf("a tensor at the offset %v of its storage", arguments[1])
	}
	shape, err := integers(arguments[2])
	if err != nil {
		return nil, fmt.Errorf("a tensor's size: %w", err)
	}
	strides, err := integers(arguments[3])
	if err != nil {
		return nil, fmt.Errorf("a tensor's stride: %w", err)
	}
	if len(shape) != len(strides) {
		return nil, fmt.Errorf("a tensor of size %v and stride %v", shape, strides)
	}
	return tensor{s, offset, shape, strides}, nil
}

// rebuildParameter is torch._utils._rebuild_parameter(data, requires_grad,
// backward_hooks).
func rebuildParameter(arguments tuple) (any, error) {
	if len(arguments) > 0 {
		if t, ok := arguments[0].(tensor); ok {
			return t, nil
		}
	}
	return nil, errors.New("a parameter without a tensor")
}

// maxRank is the largest number of dimensions, torch's own limit.
const maxRank = 64

// integers are the items of a tuple of numbers that are not negative.
func integers(v any) ([]int64, error) {
	items, ok := v.(tuple)
	if !ok || len(items) > maxRank {
		return nil, fmt.Errorf("not a tuple of at most %d numbers", maxRank)
	}
	numbers := make([]int64, len(items))
	for i, item := range items {
		n, ok := item.(int64)
		if !ok || n < 0 {
			return nil, fmt.Errorf("%v is no size", item)
		}
		numbers[i] = n
	}
	return numbers, nil
}

// contiguous reports whether the elements of t lie row by row.
func (t tensor) contiguous() bool {
	if slices.Contains(t.shape, 0) {
		return true
	}
	step := int64(1)
	for i := len(t.shape) - 1; i >= 0; i-- {
		if t.shape[i] != 1 && t.strides[i] != step {
			return false
		}
		step *= t.shape[i] // wraps only for shapes that no storage holds
	}
	return true
}
