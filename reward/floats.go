package reward

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// littleEndian reports whether the machine has the byte order of the wire, as
// nearly every one does: there a slice of floats is its own encoding. The maps
// of a rollout are megabytes, so they are neither converted nor copied there.
func littleEndian() bool { return binary.NativeEndian.Uint16([]byte{1, 0}) == 1 }

// float32Bytes is the encoding of values, sharing their memory where it can.
func float32Bytes(values []float32) []byte {
	if littleEndian() {
		return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), 4*len(values))
	}
	data := make([]byte, 4*len(values))
	putFloat32s(data, values)
	return data
}

// float64Bytes is the encoding of values, sharing their memory where it can.
func float64Bytes(values []float64) []byte {
	if littleEndian() {
		return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), 8*len(values))
	}
	data := make([]byte, 8*len(values))
	for i, v := range values {
		binary.LittleEndian.PutUint64(data[8*i:], math.Float64bits(v))
	}
	return data
}

// putFloat32s encodes values on any machine.
func putFloat32s(dst []byte, values []float32) {
	for i, v := range values {
		binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
	}
}

// readFloat32s decodes data, four bytes a value.
func readFloat32s(data []byte) []float32 {
	values := make([]float32, len(data)/4)
	if littleEndian() {
		copy(float32Bytes(values), data)
		return values
	}
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return values
}

// readFloat64s decodes data, eight bytes a value.
func readFloat64s(data []byte) []float64 {
	values := make([]float64, len(data)/8)
	if littleEndian() {
		copy(float64Bytes(values), data)
		return values
	}
	for i := range values {
		values[i] = math.Float64frombits(binary.LittleEndian.Uint64(data[8*i:]))
	}
	return values
}
