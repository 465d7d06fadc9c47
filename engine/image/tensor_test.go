package image

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/denseflow/densereward/internal/floats"
)

func float32Data(values ...float32) []byte {
	var data []byte
	for _, v := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	return data
}

func halfData(values ...uint16) []byte {
	var data []byte
	for _, v := range values {
		data = binary.LittleEndian.AppendUint16(data, v)
	}
	return data
}

func TestTensorsBecomeImages(t *testing.T) {
	// 1x2 pixels; the second is brighter than the first in each channel.
	want := []uint8{0, 51, 128, 255, 102, 128}
	hwc := []float32{0, 0.2, 0.5019608, 1, 0.4, 0.5019608}
	chw := []float32{0, 1, 0.2, 0.4, 0.5019608, 0.5019608}
	half := func(v []float32, shift uint) []uint16 {
		var bits []uint16
		for _, f := range v {
			bits = append(bits, halfBits(f, shift))
		}
		return bits
	}
	cases := []struct {
		name string
		in   Tensor
	}{
		{"uint8 HWC", Tensor{Uint8, HWC, 1, 2, []byte{0, 51, 128, 255, 102, 128}}},
		{"uint8 CHW", Tensor{Uint8, CHW, 1, 2, []byte{0, 255, 51, 102, 128, 128}}},
		{"float32 HWC", Tensor{Float32, HWC, 1, 2, float32Data(hwc...)}},
		{"float32 CHW", Tensor{Float32, CHW, 1, 2, float32Data(chw...)}},
		{"float16 HWC", Tensor{Float16, HWC, 1, 2, halfData(half(hwc, 13)...)}},
		{"float16 CHW", Tensor{Float16, CHW, 1, 2, halfData(half(chw, 13)...)}},
		{"bfloat16 HWC", Tensor{BFloat16, HWC, 1, 2, halfData(half(hwc, 16)...)}},
		{"bfloat16 CHW", Tensor{BFloat16, CHW, 1, 2, halfData(half(chw, 16)...)}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			img, err := FromTensor(c.in, Limits{}, true)
			if err != nil {
				t.Fatal(err)
			}
			if img.Width != 2 || img.Height != 1 || string(img.Pix) != string(want) {
				t.Errorf("got %dx%d %v, want %v", img.Width, img.Height, img.Pix, want)
			}
		})
	}
}

// halfBits cuts a float32 in [0,1] to float16 (shift 13) or bfloat16 (shift 16).
func halfBits(v float32, shift uint) uint16 {
	bits := math.Float32bits(v)
	if bits == 0 {
		return 0
	}
	if shift == 16 {
		return uint16((bits + 0x8000) >> 16)
	}
	return uint16((bits - (127-15)<<23 + 0x1000) >> 13)
}

func TestUint8PixelsAreNotCopied(t *testing.T) {
	data := make([]byte, 12)
	img, err := FromTensor(Tensor{Uint8, HWC, 2, 2, data}, Limits{}, true)
	if err != nil {
		t.Fatal(err)
	}
	if &img.Pix[0] != &data[0] {
		t.Error("the image has its own pixels")
	}
}

// TestHalvesRoundAsTorchRounds compares all float16 values with numpy, which
// rounds a product to float16 as torch does, and all bfloat16 values with
// arithmetic in float64.
func TestHalvesRoundAsTorchRounds(t *testing.T) {
	pixels := func(dtype DType, exponent uint16) []byte {
		levels := make([]byte, 1<<16)
		for bits := range levels {
			if uint16(bits)&exponent == exponent {
				continue
			}
			img, err := FromTensor(Tensor{dtype, HWC, 1, 1, halfData(uint16(bits), 0, 0)}, Limits{}, true)
			if err != nil {
				t.Fatalf("%v %#x: %v", dtype, bits, err)
			}
			levels[bits] = img.Pix[0]
		}
		return levels
	}
	t.Run("float16", func(t *testing.T) {
		sum := sha256.Sum256(pixels(Float16, 0x7c00))
		if got, want := hex.EncodeToString(sum[:]), readExpected(t).Float16Levels; got != want {
			t.Errorf("SHA-256 %s, want %s", got, want)
		}
	})
	t.Run("bfloat16", func(t *testing.T) {
		for bits, got := range pixels(BFloat16, 0x7f80) {
			v := float64(math.Float32frombits(uint32(bits) << 16))
			if math.IsNaN(v) || math.IsInf(v, 0) {
				continue
			}
			// The product rounded to 8 significant bits, then to an integer.
			fraction, exponent := math.Frexp(v * 255)
			product := math.Ldexp(math.RoundToEven(fraction*256), exponent-8)
			want := uint8(min(max(math.RoundToEven(product), 0), 255))
			if got != want {
				t.Fatalf("%#x is %d, want %d", bits, got, want)
			}
		}
	})
}

// TestFloatsRoundHalfToEven holds what (x*255).round().clamp(0,255) is in
// float32 arithmetic.
func TestFloatsRoundHalfToEven(t *testing.T) {
	cases := []struct {
		name string
		in   float32
		want uint8
	}{
		{"half of 255 goes to even", 0.5, 128},
		{"2.5 goes down to even", 2.5 / 255, 2},
		{"3.5 goes up to even", 3.5 / 255, 4},
		{"below zero is zero", -0.25, 0},
		{"minus zero is zero", float32(math.Copysign(0, -1)), 0},
		{"above one is 255", 1.5, 255},
		{"a large value is 255", math.MaxFloat32, 255},
		{"a large negative value is zero", -math.MaxFloat32, 0},
		{"a subnormal is zero", math.SmallestNonzeroFloat32, 0},
		{"just below one is 255", 0.9999, 255},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			img, err := FromTensor(Tensor{Float32, HWC, 1, 1, float32Data(c.in, c.in, c.in)}, Limits{}, true)
			if err != nil {
				t.Fatal(err)
			}
			if img.Pix[0] != c.want {
				t.Errorf("got %d, want %d", img.Pix[0], c.want)
			}
		})
	}
}

func TestBadTensorsAreRefused(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	cases := []struct {
		name  string
		in    Tensor
		want  error
		names string
	}{
		{"NaN in HWC", Tensor{Float32, HWC, 1, 2, float32Data(0, 0, 0, 0, nan, 0)}, ErrNotFinite, "index 4"},
		{"infinity in CHW", Tensor{Float32, CHW, 1, 2, float32Data(0, 0, 0, inf, 0, 0)}, ErrNotFinite, "index 3"},
		{"float16 infinity", Tensor{Float16, HWC, 1, 1, halfData(0, 0, 0x7c00)}, ErrNotFinite, "index 2"},
		{"float16 NaN", Tensor{Float16, CHW, 1, 1, halfData(0, 0xfe01, 0)}, ErrNotFinite, "index 1"},
		{"bfloat16 negative infinity", Tensor{BFloat16, HWC, 1, 1, halfData(0xff80, 0, 0)}, ErrNotFinite, "index 0"},
		{"too few bytes", Tensor{Float32, HWC, 1, 2, make([]byte, 23)}, ErrShape, "needs 24"},
		{"too many bytes", Tensor{Uint8, HWC, 1, 2, make([]byte, 7)}, ErrShape, "needs 6"},
		{"no rows", Tensor{Uint8, HWC, 0, 2, nil}, ErrShape, "0 rows"},
		{"negative width", Tensor{Uint8, HWC, 2, -1, nil}, ErrShape, "-1 pixels"},
		{"unknown type", Tensor{9, HWC, 1, 1, nil}, ErrShape, "DType(9)"},
		{"unknown layout", Tensor{Uint8, 7, 1, 1, nil}, ErrShape, "layout 7"},
		{"too many pixels", Tensor{Uint8, HWC, 1 << 14, 1 << 14, nil}, ErrTooLarge, "67108864"},
		{"a product that overflows", Tensor{Uint8, HWC, 1 << 62, 1 << 62, nil}, ErrTooLarge, "32768"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := FromTensor(c.in, Limits{}, true)
			if !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if !strings.Contains(err.Error(), c.names) {
				t.Errorf("error %q does not say %q", err, c.names)
			}
		})
	}
}

// Ranges are those that trainers send by mistake; a decoder overshoots a little.
func TestFloatsOfAnotherRangeAreRefusedWithTheirRangeAndARemedy(t *testing.T) {
	fill := func(odd float32, n int) []float32 { // n of 300 values are odd
		values := make([]float32, 300)
		for i := range values {
			values[i] = 0.5
			if i < n {
				values[i] = odd
			}
		}
		return values
	}
	for _, c := range []struct {
		name string
		odd  float32
		n    int
		want string // "" where it is an image
	}{
		{"a tanh output", -1, 100, "(x + 1) / 2"},
		{"levels", 255, 200, "uint8"},
		{"a little more than an overshoot", 1.06, 4, "[-0.05,1.05]"},
		{"an overshoot of all", 1.05, 300, ""},
		{"an undershoot of all", -0.05, 300, ""},
		{"one value in a hundred", 7, 3, ""},
	} {
		for _, layout := range []Layout{HWC, CHW} {
			for dtype, data := range map[DType][]byte{Float32: float32Data(fill(c.odd, c.n)...), Float16: float16Data(fill(c.odd, c.n)), BFloat16: bfloat16Data(fill(c.odd, c.n))} {
				tensor := Tensor{dtype, layout, 10, 10, data}
				_, err := FromTensor(tensor, Limits{}, false)
				// 1.05 is rounded up in the 16-bit types.
				if c.want == "" && err != nil && !(dtype != Float32 && c.n == 300) {
					t.Errorf("%s, %v: %v", c.name, dtype, err)
				}
				if c.want != "" && (!errors.Is(err, ErrRange) || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("%s, %v: error %v does not say %q", c.name, dtype, err, c.want)
				}
				if _, err := FromTensor(tensor, Limits{}, true); err != nil {
					t.Errorf("%s, %v, clamped: %v", c.name, dtype, err)
				}
			}
		}
	}
}

func float16Data(values []float32) []byte {
	var bits []uint16
	for _, v := range values {
		for b := range 1 << 16 {
			if b&0x7c00 != 0x7c00 && floats.Float16(uint16(b)) == roundFloat16(v) {
				bits = append(bits, uint16(b))
				break
			}
		}
	}
	return halfData(bits...)
}

func bfloat16Data(values []float32) []byte {
	var bits []uint16
	for _, v := range values {
		bits = append(bits, uint16(math.Float32bits(roundBFloat16(v))>>16))
	}
	return halfData(bits...)
}
