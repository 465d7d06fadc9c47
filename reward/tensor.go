package reward

import "math"

// DType is an element type by the name that numpy writes in a dtype's str, or
// "bfloat16", which numpy does not have. All are little-endian.
type DType string

// The element types that travel.
const (
	Bool     DType = "|b1"
	Int8     DType = "|i1"
	Uint8    DType = "|u1"
	Int16    DType = "<i2"
	Uint16   DType = "<u2"
	Int32    DType = "<i4"
	Uint32   DType = "<u4"
	Int64    DType = "<i8"
	Uint64   DType = "<u8"
	Float16  DType = "<f2"
	BFloat16 DType = "bfloat16"
	Float32  DType = "<f4"
	Float64  DType = "<f8"
)

// Size is the number of bytes of one element, 0 for a type that does not
// travel.
func (d DType) Size() int {
	switch d {
	case Bool, Int8, Uint8:
		return 1
	case Int16, Uint16, Float16, BFloat16:
		return 2
	case Int32, Uint32, Float32:
		return 4
	case Int64, Uint64, Float64:
		return 8
	}
	return 0
}

// MaxRank is the most dimensions a tensor may have.
const MaxRank = 8

// Tensor is a dense array as it travels: row major, little-endian. Data holds
// the product of Shape times Type.Size() bytes.
type Tensor struct {
	Type  DType
	Shape []int
	Data  []byte
}

// Elements is the product of shape, and false if a dimension is negative or
// the product does not fit an int.
func Elements(shape []int) (int, bool) {
	n := 1
	for _, d := range shape {
		if d < 0 || (d > 0 && n > math.MaxInt/d) {
			return 0, false
		}
		n *= d
	}
	return n, true
}

// Check reports, as an *Error, a type that does not travel or a shape that
// does not fit the data.
func (t *Tensor) Check() error {
	size := t.Type.Size()
	if size == 0 {
		return ErrUnsupportedDType.With("type %.20q is not one of the protocol's", string(t.Type))
	}
	if len(t.Shape) > MaxRank {
		return ErrInvalidValue.With("shape has %d dimensions, limit %d", len(t.Shape), MaxRank)
	}
	n, ok := Elements(t.Shape)
	if !ok || n > math.MaxInt/size {
		return ErrInvalidValue.With("shape %v is not possible", t.Shape)
	}
	if n*size != len(t.Data) {
		return ErrInvalidValue.With("shape %v of %s takes %d bytes, data holds %d", t.Shape, t.Type, n*size, len(t.Data))
	}
	return nil
}

// Part is elements [from,to) of the first dimension; it shares t's data. t has
// passed Check, has a rank of at least 1 and a first dimension of at least to.
func (t *Tensor) Part(from, to int) *Tensor {
	stride := len(t.Data) / max(t.Shape[0], 1)
	return &Tensor{Type: t.Type, Shape: append([]int{to - from}, t.Shape[1:]...), Data: t.Data[from*stride : to*stride : to*stride]}
}

// Gather is a copy of the elements at places of the first dimension, nil for nil.
func (t *Tensor) Gather(places []int) *Tensor {
	if t == nil {
		return nil
	}
	stride := len(t.Data) / max(t.Shape[0], 1)
	all := &Tensor{Type: t.Type, Shape: append([]int{len(places)}, t.Shape[1:]...), Data: make([]byte, 0, stride*len(places))}
	for _, i := range places {
		all.Data = append(all.Data, t.Data[i*stride:(i+1)*stride]...)
	}
	return all
}

// Float32Tensor is a tensor of the given shape over values, which it keeps. It
// panics if shape does not fit them.
func Float32Tensor(values []float32, shape ...int) *Tensor {
	mustFit("Float32Tensor", len(values), shape)
	return &Tensor{Type: Float32, Shape: shape, Data: float32Bytes(values)}
}

// Float64Tensor is a tensor of the given shape over values, which it keeps. It
// panics if shape does not fit them.
func Float64Tensor(values []float64, shape ...int) *Tensor {
	mustFit("Float64Tensor", len(values), shape)
	return &Tensor{Type: Float64, Shape: shape, Data: float64Bytes(values)}
}

// Uint8Tensor is a tensor of the given shape over values, which it keeps. It
// panics if shape does not fit them.
func Uint8Tensor(values []uint8, shape ...int) *Tensor {
	mustFit("Uint8Tensor", len(values), shape)
	return &Tensor{Type: Uint8, Shape: shape, Data: values}
}

func mustFit(what string, n int, shape []int) {
	if elements, ok := Elements(shape); !ok || elements != n {
		panic("reward: " + what + ": shape does not fit the values")
	}
}

// Float32s is a copy of the elements of a Float32 or Float64 tensor.
func (t *Tensor) Float32s() ([]float32, error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	switch t.Type {
	case Float32:
		return readFloat32s(t.Data), nil
	case Float64:
		wide := readFloat64s(t.Data)
		values := make([]float32, len(wide))
		for i, v := range wide {
			values[i] = float32(v)
		}
		return values, nil
	}
	return nil, ErrUnsupportedDType.With("type is %s, want %s or %s", t.Type, Float32, Float64)
}

// Float64s is a copy of the elements of a Float32 or Float64 tensor.
func (t *Tensor) Float64s() ([]float64, error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	switch t.Type {
	case Float32:
		narrow := readFloat32s(t.Data)
		values := make([]float64, len(narrow))
		for i, v := range narrow {
			values[i] = float64(v)
		}
		return values, nil
	case Float64:
		return readFloat64s(t.Data), nil
	}
	return nil, ErrUnsupportedDType.With("type is %s, want %s or %s", t.Type, Float32, Float64)
}
