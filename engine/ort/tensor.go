package ort

import (
	"fmt"
	"math"
	"unsafe"
)

// DType is the type of a tensor's elements.
type DType int

// The element types that cross the boundary of a session.
const (
	Undefined DType = iota
	Float32
	Float64
	Float16
	BFloat16
	Int8
	Int16
	Int32
	Int64
	Uint8
	Uint16
	Uint32
	Uint64
	Bool
)

var dtypes = [...]struct {
	name string
	size int
}{
	Undefined: {"undefined", 0},
	Float32:   {"float32", 4},
	Float64:   {"float64", 8},
	Float16:   {"float16", 2},
	BFloat16:  {"bfloat16", 2},
	Int8:      {"int8", 1},
	Int16:     {"int16", 2},
	Int32:     {"int32", 4},
	Int64:     {"int64", 8},
	Uint8:     {"uint8", 1},
	Uint16:    {"uint16", 2},
	Uint32:    {"uint32", 4},
	Uint64:    {"uint64", 8},
	Bool:      {"bool", 1},
}

// Size is the number of bytes of one element, 0 for an unknown type.
func (d DType) Size() int {
	if d < 0 || int(d) >= len(dtypes) {
		return 0
	}
	return dtypes[d].size
}

// String is the type's name as numpy and torch spell it.
func (d DType) String() string {
	if d < 0 || int(d) >= len(dtypes) {
		return fmt.Sprintf("dtype(%d)", int(d))
	}
	return dtypes[d].name
}

// Tensor is a dense array in host memory: row major, the host's byte order
// (every platform that ONNX Runtime is published for is little endian). An
// empty Shape is a scalar. Data holds the elements' bytes and may share memory
// with the slice that the tensor was made from.
type Tensor struct {
	DType DType
	Shape []int64
	Data  []byte
}

// Empty makes a tensor of zeros, to be filled in or to receive an output.
func Empty(d DType, shape ...int64) (Tensor, error) {
	t := Tensor{DType: d, Shape: shape}
	n, err := t.bytes()
	if err != nil {
		return Tensor{}, err
	}
	// Allocated as words, so that every element type is aligned.
	words := make([]uint64, (n+7)/8)
	t.Data = bytesOf(words)[:n]
	return t, nil
}

// Float32s wraps data, which the tensor shares, in a tensor of shape.
func Float32s(shape []int64, data []float32) Tensor { return wrap(Float32, shape, data) }

// Float64s wraps data, which the tensor shares, in a tensor of shape.
func Float64s(shape []int64, data []float64) Tensor { return wrap(Float64, shape, data) }

// Int64s wraps data, which the tensor shares, in a tensor of shape.
func Int64s(shape []int64, data []int64) Tensor { return wrap(Int64, shape, data) }

// Int32s wraps data, which the tensor shares, in a tensor of shape.
func Int32s(shape []int64, data []int32) Tensor { return wrap(Int32, shape, data) }

// Uint8s wraps data, which the tensor shares, in a tensor of shape.
func Uint8s(shape []int64, data []uint8) Tensor { return wrap(Uint8, shape, data) }

// Bools wraps data, which the tensor shares, in a tensor of shape.
func Bools(shape []int64, data []bool) Tensor { return wrap(Bool, shape, data) }

// Float32s is a view of the elements; it panics if t is not float32.
func (t Tensor) Float32s() []float32 { return view[float32](t, Float32) }

// Float64s is a view of the elements; it panics if t is not float64.
func (t Tensor) Float64s() []float64 { return view[float64](t, Float64) }

// Int64s is a view of the elements; it panics if t is not int64.
func (t Tensor) Int64s() []int64 { return view[int64](t, Int64) }

// Int32s is a view of the elements; it panics if t is not int32.
func (t Tensor) Int32s() []int32 { return view[int32](t, Int32) }

// Uint8s is a view of the elements; it panics if t is not uint8.
func (t Tensor) Uint8s() []uint8 { return view[uint8](t, Uint8) }

// Bools is a view of the elements; it panics if t is not bool.
func (t Tensor) Bools() []bool { return view[bool](t, Bool) }

// Elements is the number of elements that Shape calls for: 1 for a scalar, -1
// if a dimension is negative or the product overflows.
func (t Tensor) Elements() int64 {
	n := int64(1)
	for _, d := range t.Shape {
		if d < 0 || d > 0 && n > math.MaxInt64/d {
			return -1
		}
		n *= d
	}
	return n
}

// String is the tensor's type and shape, such as "float32[2 3]".
func (t Tensor) String() string { return fmt.Sprintf("%s%v", t.DType, t.Shape) }

// check reports a tensor whose data does not fit its type and shape.
func (t Tensor) check() error {
	n, err := t.bytes()
	if err != nil {
		return err
	}
	if n != len(t.Data) {
		return fmt.Errorf("%s needs %d bytes, has %d", t, n, len(t.Data))
	}
	return nil
}

// bytes is the length of Data that the type and shape call for.
func (t Tensor) bytes() (int, error) {
	size := int64(t.DType.Size())
	if size == 0 {
		return 0, fmt.Errorf("tensor of unsupported type %s", t.DType)
	}
	n := t.Elements()
	if n < 0 || n > math.MaxInt/size {
		return 0, fmt.Errorf("impossible shape %v", t.Shape)
	}
	return int(n * size), nil
}

type element interface {
	float32 | float64 | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | bool
}

func wrap[T element](d DType, shape []int64, data []T) Tensor {
	return Tensor{DType: d, Shape: shape, Data: bytesOf(data)}
}

func bytesOf[T element](data []T) []byte {
	var zero T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(data))), len(data)*int(unsafe.Sizeof(zero)))
}

// view reads t's bytes in place, or from an aligned copy where a caller has
// cut Data out of the middle of a buffer.
func view[T element](t Tensor, d DType) []T {
	if t.DType != d {
		panic(fmt.Sprintf("ort: %s read as %s", t, d))
	}
	var zero T
	n := len(t.Data) / int(unsafe.Sizeof(zero))
	p := unsafe.Pointer(unsafe.SliceData(t.Data))
	if uintptr(p)%unsafe.Alignof(zero) != 0 {
		data := make([]T, n)
		copy(bytesOf(data), t.Data)
		return data
	}
	return unsafe.Slice((*T)(p), n)
}
