package reward

import (
	"bytes"
	"math"
	"slices"
	"testing"
)

func TestFloatsAreLittleEndianOnAnyMachine(t *testing.T) {
	values := []float32{0, 1, -2.5, math.MaxFloat32, float32(math.Inf(-1))}
	portable := make([]byte, 4*len(values))
	putFloat32s(portable, values)
	if !bytes.Equal(float32Bytes(values), portable) {
		t.Errorf("got %x, want %x", float32Bytes(values), portable)
	}
	if !slices.Equal(readFloat32s(portable), values) {
		t.Errorf("got %v, want %v", readFloat32s(portable), values)
	}
	wide := []float64{1}
	if want := []byte{0, 0, 0, 0, 0, 0, 0xf0, 0x3f}; !bytes.Equal(float64Bytes(wide), want) {
		t.Errorf("got %x, want %x", float64Bytes(wide), want)
	}
	if got := readFloat64s(float64Bytes(wide)); !slices.Equal(got, wide) {
		t.Errorf("got %v, want %v", got, wide)
	}
	if len(float32Bytes(nil)) != 0 || len(float64Bytes(nil)) != 0 {
		t.Error("no floats have bytes")
	}
}
