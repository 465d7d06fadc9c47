package onnx

// DType is an element type, with the numbers of TensorProto.DataType.
type DType int32

// The element types that the builder knows.
const (
	Invalid  DType = 0
	Float32  DType = 1
	Uint8    DType = 2
	Int8     DType = 3
	Int32    DType = 6
	Int64    DType = 7
	Bool     DType = 9
	Float16  DType = 10
	Float64  DType = 11
	BFloat16 DType = 16
	Float8   DType = 17 // e4m3, without infinities; of products alone
)

var dtypeNames = map[DType]string{
	Invalid: "invalid", Float32: "float32", Uint8: "uint8", Int8: "int8", Int32: "int32",
	Int64: "int64", Bool: "bool", Float16: "float16", Float64: "float64", BFloat16: "bfloat16", Float8: "float8e4m3",
}

// String is the lower-case name of d, "float32" for instance.
func (d DType) String() string {
	if name, ok := dtypeNames[d]; ok {
		return name
	}
	return "unknown"
}

// Size is the length of one element in bytes, 0 for an unknown type.
func (d DType) Size() int64 {
	switch d {
	case Uint8, Int8, Bool, Float8:
		return 1
	case Float16, BFloat16:
		return 2
	case Float32, Int32:
		return 4
	case Float64, Int64:
		return 8
	}
	return 0
}

// Float reports whether d is one of the floating-point types.
func (d DType) Float() bool {
	return d == Float32 || d == Float16 || d == BFloat16 || d == Float64
}

// Integer reports whether d is one of the integer types.
func (d DType) Integer() bool {
	return d == Uint8 || d == Int8 || d == Int32 || d == Int64
}

// kind is a set of element types that an operator takes.
type kind struct {
	name string
	has  func(DType) bool
}

var (
	anything = kind{"of any type", func(DType) bool { return true }}
	numbers  = kind{"of numbers", func(d DType) bool { return d.Float() || d.Integer() }}
	signed   = kind{"of signed numbers", func(d DType) bool { return d.Float() || d.Integer() && d != Uint8 }}
	floats   = kind{"of floating-point numbers", DType.Float}
	truths   = kind{"of type bool", func(d DType) bool { return d == Bool }}
)

// takes reports whether op can be used on v; otherwise it records the mistake.
func (g *Graph) takes(op string, k kind, v Value) bool {
	if !k.has(v.dtype) {
		g.Fail("%s: %s is %v; it must be %s", op, v.name, v.dtype, k.name)
		return false
	}
	return true
}
