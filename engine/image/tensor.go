package image

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/denseflow/densereward/engine/image/codec"
	"github.com/denseflow/densereward/internal/floats"
	"github.com/denseflow/densereward/reward"
)

// What can be wrong with a tensor. Errors name the type, the shape and the index.
var (
	// ErrShape is returned when shape, element type and length do not agree.
	ErrShape = errors.New("bad image tensor")
	// ErrNotFinite is returned when a tensor holds a NaN or an infinity.
	ErrNotFinite = errors.New("image value is not finite")
	// ErrRange is returned when too many values of a tensor of floats lie outside
	// [0,1] for an image whose decoder overshot.
	ErrRange = errors.New("image values out of range")
)

// DType is the element type of a Tensor, little endian.
type DType uint8

// The element types of images.
const (
	Uint8    DType = iota // 0..255
	Float16               // IEEE 754 binary16, [0,1]
	BFloat16              // the upper half of a float32, [0,1]
	Float32               // [0,1]
)

var dtypeNames = [...]string{"uint8", "float16", "bfloat16", "float32"}

func (d DType) String() string {
	if int(d) < len(dtypeNames) {
		return dtypeNames[d]
	}
	return fmt.Sprintf("DType(%d)", uint8(d))
}

// Size is the number of bytes of an element; 0 if d is not a DType.
func (d DType) Size() int {
	switch d {
	case Uint8:
		return 1
	case Float16, BFloat16:
		return 2
	case Float32:
		return 4
	}
	return 0
}

// Layout is the order of a image tensor's axes.
type Layout uint8

// The layouts of images.
const (
	HWC Layout = iota // (height, width, 3), as numpy and PIL have it
	CHW               // (3, height, width), as torch has it
)

// Tensor is a image as a trainer holds it: Height*Width*3 elements of type
// DType in Data.
type Tensor struct {
	DType         DType
	Layout        Layout
	Height, Width int
	Data          []byte
}

// FromTensor makes a image of t. A Uint8 tensor in HWC is not copied: the
// image's Pix is t.Data. Floats become bytes as the trainers' torch code has
// it, (x*255).round().clamp(0,255).to(uint8): halves to even, and for the 16-bit
// types the product is rounded to that type first. Values outside [0,1] are
// clamped; unless clamp is set, more than one in a hundred outside [-0.05,1.05] is
// ErrRange, and the error says what range there is. A NaN or infinity is
// ErrNotFinite, and the error names its index in t.Data. Data of another length than the shape asks for is ErrShape.
func FromTensor(t Tensor, limits Limits, clamp bool) (*reward.Image, error) {
	if t.Layout > CHW || t.DType.Size() == 0 {
		return nil, fmt.Errorf("%w: type %v, layout %d", ErrShape, t.DType, t.Layout)
	}
	if t.Height < 1 || t.Width < 1 {
		return nil, fmt.Errorf("%w: %d rows of %d pixels", ErrShape, t.Height, t.Width)
	}
	if err := limits.Check(t.Width, t.Height); err != nil {
		return nil, err
	}
	n := t.Height * t.Width * 3
	if len(t.Data) != n*t.DType.Size() {
		return nil, fmt.Errorf("%w: %d bytes of data, %dx%dx3 of %v needs %d",
			ErrShape, len(t.Data), t.Height, t.Width, t.DType, n*t.DType.Size())
	}
	if t.DType == Uint8 && t.Layout == HWC {
		return &reward.Image{Width: t.Width, Height: t.Height, Pix: t.Data[:n:n]}, nil
	}
	img := codec.NewImage(t.Width, t.Height)
	outside := 0 // values beyond an overshoot
	if t.Layout == HWC {
		if at := t.DType.toBytes(img.Pix, t.Data, 1, &outside); at >= 0 {
			return nil, t.notFinite(at)
		}
		if err := t.checkRange(outside, clamp); err != nil {
			return nil, err
		}
		return img, nil
	}
	plane := t.Height * t.Width
	if t.DType == Uint8 {
		codec.Interleave(img.Pix, t.Data[:plane], t.Data[plane:2*plane], t.Data[2*plane:])
		return img, nil
	}
	for c := range 3 {
		size := plane * t.DType.Size()
		if at := t.DType.toBytes(img.Pix[c:], t.Data[c*size:(c+1)*size], 3, &outside); at >= 0 {
			return nil, t.notFinite(c*plane + at)
		}
	}
	if err := t.checkRange(outside, clamp); err != nil {
		return nil, err
	}
	return img, nil
}

func (t Tensor) notFinite(at int) error {
	return fmt.Errorf("%w: %v tensor of %dx%d pixels at index %d", ErrNotFinite, t.DType, t.Width, t.Height, at)
}

// A decoder's overshoot stays within these, but for one value in tolerated.
const (
	overshootLow, overshootHigh = -0.05, 1.05
	tolerated                   = 100
)

// checkRange fails if too many values lie outside the range of an overshoot.
func (t Tensor) checkRange(outside int, clamp bool) error {
	n := t.Height * t.Width * 3
	if clamp || outside*tolerated <= n {
		return nil
	}
	low, high := t.valueRange()
	remedy := "images are floats in [0,1]"
	switch {
	case low >= -1.5 && high <= 1.5:
		remedy = "values in [-1,1] become those of an image by (x + 1) / 2"
	case high > 2:
		remedy = "levels of 0 to 255 go as uint8, or divided by 255"
	}
	return fmt.Errorf("%w: %.0f%% of the values lie outside [%v,%v], they range from %.4g to %.4g: %s",
		ErrRange, 100*float64(outside)/float64(n), overshootLow, overshootHigh, low, high, remedy)
}

// valueRange is the least and the largest value of floats.
func (t Tensor) valueRange() (low, high float32) {
	low, high = float32(math.Inf(1)), float32(math.Inf(-1))
	size := t.DType.Size()
	for i := 0; i+size <= len(t.Data); i += size {
		var v float32
		switch t.DType {
		case Float32:
			v = math.Float32frombits(binary.LittleEndian.Uint32(t.Data[i:]))
		case Float16:
			v = floats.Float16(binary.LittleEndian.Uint16(t.Data[i:]))
		case BFloat16:
			v = floats.BFloat16(binary.LittleEndian.Uint16(t.Data[i:]))
		}
		low, high = min(low, v), max(high, v)
	}
	return low, high
}

// toBytes writes the floats of src to every step-th byte of dst and counts those
// beyond an overshoot. It stops at the first that is not finite and returns its
// index, or returns -1.
func (d DType) toBytes(dst []uint8, src []byte, step int, outside *int) int {
	switch d {
	case Float32:
		return float32Bytes(dst, src, step, outside)
	case Float16:
		return halfBytes(dst, src, step, float16Form, float16Levels(), outside)
	case BFloat16:
		return halfBytes(dst, src, step, bfloat16Form, bfloat16Levels(), outside)
	}
	return -1
}

// float32Bytes is toBytes for float32.
func float32Bytes(dst []uint8, src []byte, step int, outside *int) int {
	const exponent, one = 0x7f80_0000, 0x3f80_0000
	for i, at := 0, 0; i+4 <= len(src); i, at = i+4, at+step {
		bits := binary.LittleEndian.Uint32(src[i:])
		v := math.Float32frombits(bits)
		if bits > one { // as are those of negative numbers
			if bits&exponent == exponent {
				return i / 4
			}
			if v < overshootLow || v > overshootHigh {
				*outside++
			}
			v = min(max(v, 0), 1)
		}
		// The conversion keeps a compiler from fusing product and sum.
		dst[at] = nearest(float32(v * 255))
	}
	return -1
}

// nearest rounds v, in 0..255, to the nearest integer, halves to even. Between
// 1<<23 and 1<<24 float32 holds integers only, so that the sum rounds v by the
// default mode and leaves it in the low bits.
func nearest(v float32) uint8 { return uint8(math.Float32bits(v + 1<<23)) }

// level is nearest of v limited to 0..255.
func level(v float32) uint8 { return nearest(min(max(v, 0), 255)) }

// halfForm is what is to be known of a 16-bit type's bits.
type halfForm struct {
	exponent uint16 // all ones
	one      uint16
	value    func(bits uint16) float32
}

// They are constants.
var (
	float16Form  = halfForm{0x7c00, 0x3c00, floats.Float16}
	bfloat16Form = halfForm{0x7f80, 0x3f80, floats.BFloat16}
)

// halfBytes is toBytes for a 16-bit type, by table.
func halfBytes(dst []uint8, src []byte, step int, form halfForm, levels *[1 << 16]uint8, outside *int) int {
	for i, at := 0, 0; i+2 <= len(src); i, at = i+2, at+step {
		bits := binary.LittleEndian.Uint16(src[i:])
		if bits > form.one { // as are those of negative numbers
			if bits&form.exponent == form.exponent {
				return i / 2
			}
			if v := form.value(bits); v < overshootLow || v > overshootHigh {
				*outside++
			}
		}
		dst[at] = levels[bits]
	}
	return -1
}

// float16Levels and bfloat16Levels hold the byte for each value of a type. They
// are constants that take a moment to compute, hence on first use.
var (
	float16Levels = sync.OnceValue(func() *[1 << 16]uint8 {
		return levels(floats.Float16, roundFloat16)
	})
	bfloat16Levels = sync.OnceValue(func() *[1 << 16]uint8 {
		return levels(floats.BFloat16, roundBFloat16)
	})
)

// levels tabulates what torch makes of each 16-bit value: it multiplies in
// float32 and rounds the product to the tensor's type before it is rounded to
// an integer.
func levels(value func(uint16) float32, round func(float32) float32) *[1 << 16]uint8 {
	var table [1 << 16]uint8
	for bits := range table {
		if v := value(uint16(bits)); v == v { // NaN has no level
			table[bits] = level(round(float32(v * 255)))
		}
	}
	return &table
}

// roundFloat16 rounds v to the nearest float16, halves to even. v is finite; the
// result for large values need not overflow, since they are clamped.
func roundFloat16(v float32) float32 {
	// Adding and taking away 2^13 times v's power of two leaves 11 significant
	// bits; below 2^-14 float16 has a fixed step of 2^-24.
	abs := math.Float32frombits(math.Float32bits(v) & 0x7fff_ffff)
	if abs >= 65536 {
		return v
	}
	power := math.Float32frombits(math.Float32bits(max(abs, 1.0/(1<<14))) & 0x7f80_0000)
	magic := power * (1 << 13) * 1.5
	return float32(v+magic) - magic
}

// roundBFloat16 rounds v to the nearest bfloat16, halves to even. v is finite.
func roundBFloat16(v float32) float32 {
	bits := math.Float32bits(v)
	bits += 0x7fff + bits>>16&1
	return math.Float32frombits(bits &^ 0xffff)
}
