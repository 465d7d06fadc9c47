package floats

import (
	"encoding/binary"
	"math"
	"testing"
)

func TestEveryHalfIsItsValue(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		sign, exponent, mantissa := 1.0, int(h>>10&31), float64(h&1023)
		if h>>15 == 1 {
			sign = -1
		}
		want := sign * math.Ldexp(1+mantissa/1024, exponent-15)
		switch {
		case exponent == 0:
			want = sign * math.Ldexp(mantissa, -24)
		case exponent == 31 && mantissa == 0:
			want = math.Inf(int(sign))
		case exponent == 31:
			want = math.NaN()
		}
		got := float64(Float16(h))
		if got != want && !(math.IsNaN(got) && math.IsNaN(want)) || math.Signbit(got) != (h>>15 == 1) {
			t.Fatalf("%#04x is %v, want %v", h, got, want)
		}
	}
}

func TestFiniteFindsWhatIsNot(t *testing.T) {
	for _, v := range []float32{0, -1, math.MaxFloat32, math.SmallestNonzeroFloat32} {
		if !Finite([]float32{1, v}) {
			t.Errorf("%v is not finite", v)
		}
	}
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if Finite([]float32{1, float32(v)}) {
			t.Errorf("%v is finite", v)
		}
	}
}

// Latents of sixteen images of 512x512.
const benchCells = 16 * 16 * 64 * 64

func benchmarkConversion(b *testing.B, size int, convert func([]float32, []byte)) {
	src, dst := make([]byte, size*benchCells), make([]float32, benchCells)
	for i := range benchCells {
		if size == 2 {
			binary.LittleEndian.PutUint16(src[2*i:], uint16(0x3000+i%0x1800))
		} else {
			binary.LittleEndian.PutUint32(src[4*i:], math.Float32bits(float32(i)))
		}
	}
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		convert(dst, src)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchCells, "ns/element")
}

func BenchmarkFloat16Latents(b *testing.B)  { benchmarkConversion(b, 2, Float16s) }
func BenchmarkBFloat16Latents(b *testing.B) { benchmarkConversion(b, 2, BFloat16s) }
func BenchmarkFloat32Latents(b *testing.B)  { benchmarkConversion(b, 4, Float32s) }

func BenchmarkFiniteLatents(b *testing.B) {
	values := make([]float32, benchCells)
	b.SetBytes(4 * benchCells)
	for b.Loop() {
		if !Finite(values) {
			b.Fatal("zeros are not finite")
		}
	}
}
