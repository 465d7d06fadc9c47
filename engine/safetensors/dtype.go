package safetensors

// DType is the element type of a tensor, spelt as in the header.
type DType string

// The element types of the format.
const (
	Bool       DType = "BOOL"
	F4         DType = "F4"      // two elements a byte
	F6E2M3     DType = "F6_E2M3" // four elements in three bytes
	F6E3M2     DType = "F6_E3M2" // four elements in three bytes
	U8         DType = "U8"
	I8         DType = "I8"
	F8E5M2     DType = "F8_E5M2"
	F8E4M3     DType = "F8_E4M3"
	F8E8M0     DType = "F8_E8M0"
	F8E4M3FNUZ DType = "F8_E4M3FNUZ"
	F8E5M2FNUZ DType = "F8_E5M2FNUZ"
	I16        DType = "I16"
	U16        DType = "U16"
	F16        DType = "F16"
	BF16       DType = "BF16"
	I32        DType = "I32"
	U32        DType = "U32"
	F32        DType = "F32"
	I64        DType = "I64"
	U64        DType = "U64"
	F64        DType = "F64"
	C64        DType = "C64" // two float32: real, imaginary
)

// Bits is the size of one element in bits, or 0 if d is not a dtype of the
// format.
func (d DType) Bits() int {
	switch d {
	case F4:
		return 4
	case F6E2M3, F6E3M2:
		return 6
	case Bool, U8, I8, F8E5M2, F8E4M3, F8E8M0, F8E4M3FNUZ, F8E5M2FNUZ:
		return 8
	case I16, U16, F16, BF16:
		return 16
	case I32, U32, F32:
		return 32
	case I64, U64, F64, C64:
		return 64
	default:
		return 0
	}
}
