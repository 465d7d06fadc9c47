package onnx

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Scalar types that Const embeds.
type scalar interface {
	float32 | int32 | int64 | bool | uint8
}

func dtypeOf[T scalar]() DType {
	switch any(*new(T)).(type) {
	case float32:
		return Float32
	case int32:
		return Int32
	case int64:
		return Int64
	case bool:
		return Bool
	}
	return Uint8
}

// Const embeds the values data, of the given sizes, in the model. Equal
// constants of one graph are stored once.
func Const[T scalar](g *Graph, data []T, sizes ...int64) Value {
	raw := make([]byte, 0, 8*len(data))
	for _, v := range data {
		raw = appendRaw(raw, v)
	}
	return g.constant(dtypeOf[T](), raw, Dims(sizes...))
}

// Scalar embeds the value v, with no dimensions.
func Scalar[T scalar](g *Graph, v T) Value { return Const(g, []T{v}) }

// ScalarOf is the number v as a constant of a floating-point type without
// dimensions, rounded to nearest even.
func (g *Graph) ScalarOf(dtype DType, v float32) Value {
	switch dtype {
	case Float32:
		return Scalar(g, v)
	case BFloat16:
		b := math.Float32bits(v)
		b += 0x7fff + b>>16&1
		return g.constant(BFloat16, binary.LittleEndian.AppendUint16(nil, uint16(b>>16)), Shape{})
	case Float16:
		return g.Cast(Scalar(g, v), Float16)
	}
	return g.Fail("constant %v of type %v", v, dtype)
}

// Zeros embeds zeros of any type.
func (g *Graph) Zeros(dtype DType, sizes ...int64) Value {
	shape := Dims(sizes...)
	count, _ := shape.Elements().Fixed()
	return g.constant(dtype, make([]byte, count*dtype.Size()), shape)
}

func appendRaw(raw []byte, v any) []byte {
	switch v := v.(type) {
	case float32:
		return binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	case int32:
		return binary.LittleEndian.AppendUint32(raw, uint32(v))
	case int64:
		return binary.LittleEndian.AppendUint64(raw, uint64(v))
	case uint8:
		return append(raw, v)
	case bool:
		if v {
			return append(raw, 1)
		}
		return append(raw, 0)
	}
	panic(fmt.Sprintf("onnx: constant of type %T", v))
}

// constant embeds raw in the outermost graph, where every subgraph sees it.
func (g *Graph) constant(dtype DType, raw []byte, shape Shape) Value {
	top := g
	for top.parent != nil {
		top = top.parent
	}
	count, ok := shape.Elements().Fixed()
	if !ok || count*dtype.Size() != int64(len(raw)) {
		return g.Fail("constant: %v %v does not hold %d bytes", dtype, shape, len(raw))
	}
	key := fmt.Sprintf("%d%v%s", dtype, shape, raw)
	if v, ok := top.consts[key]; ok {
		return v
	}
	v := Value{g: top, name: g.unique("const"), dtype: dtype, shape: shape}
	top.initializers = append(top.initializers, initializer{value: v, raw: raw})
	top.consts[key] = v
	return v
}

// ints is a vector constant, as operators take their axes and sizes.
func (g *Graph) ints(v ...int64) Value { return Const(g, v, int64(len(v))) }
