package resize

import (
	"math"

	"github.com/denseflow/densereward/engine/image/codec"
)

// quantum says how the weights of a resize become integers.
type quantum uint8

const (
	// pillowQuantum: 22 fractional bits, so that a sum of products with 8-bit
	// samples and some overshoot stays within 32 bits (Pillow, Resample.c).
	pillowQuantum quantum = iota
	// torchQuantum: as many fractional bits as let the largest weight of the
	// table stay below 1<<15 (torch, UpSampleKernel.cpp, int16 weights).
	torchQuantum
)

// table holds the weights that turn in samples into len(taps) samples.
type table struct {
	taps    []tap
	weights []uint64 // of all taps; two's complement
	bits    uint     // fractional bits of a weight
}

// tap is what one sample of the result is made of: count samples from first,
// with the weights from at.
type tap struct{ first, count, at int }

// half is the rounding term in both halves of a sum.
func (t *table) half() uint64 {
	h := uint64(1) << (t.bits - 1)
	return h | h<<32
}

// unpack takes a sum apart into the two samples it holds. The sum is low +
// high<<32 modulo 1<<64, where both are signed 32-bit numbers: a negative low
// has borrowed one from the upper half, which taking it away gives back.
func (t *table) unpack(sum uint64) (low, high uint8) {
	l := int32(uint32(sum))
	h := int32(uint32((sum - uint64(int64(l))) >> 32))
	return codec.Clamp8(l >> t.bits), codec.Clamp8(h >> t.bits)
}

// bicubic is Keys' cubic convolution kernel with a = -0.5. The conversions keep
// a compiler from fusing a product into a sum, which would round differently.
func bicubic(x float64) float64 {
	const a = -0.5
	x = math.Abs(x)
	switch {
	case x < 1:
		return float64((float64((a+2)*x)-(a+3))*x*x) + 1
	case x < 2:
		return (float64((float64((x-5)*x)+8)*x) - 4) * a
	}
	return 0
}

// newTable computes the weights for resizing in samples to out.
func newTable(in, out int, q quantum) *table {
	scale := float64(in) / float64(out)
	stretch := max(scale, 1)
	support := 2 * stretch
	inverse := 1 / stretch

	t := &table{taps: make([]tap, out), bits: 22}
	var exact []float64
	for i := range t.taps {
		center := float64((float64(i) + 0.5) * scale)
		first := max(int(center-support+0.5), 0)
		count := min(int(center+support+0.5), in) - first
		at, total := len(exact), 0.0
		for j := range count {
			w := bicubic((float64(j+first) - center + 0.5) * inverse)
			exact = append(exact, w)
			total += w
		}
		if total != 0 {
			for j := range count {
				exact[at+j] /= total
			}
		}
		t.taps[i] = tap{first, count, at}
	}
	if q == torchQuantum {
		t.bits = torchBits(exact)
	}
	t.weights = make([]uint64, len(exact))
	for i, w := range exact {
		// Half away from zero; int truncates.
		t.weights[i] = uint64(int64(float64(w*float64(int(1)<<t.bits)) + math.Copysign(0.5, w)))
	}
	return t
}

// torchBits is the number of fractional bits that torch gives int16 weights.
func torchBits(weights []float64) uint {
	largest := 0.0
	for _, w := range weights {
		largest = max(largest, w)
	}
	bits := uint(0)
	for bits < 22 && int(0.5+float64(largest*float64(int(1)<<(bits+1)))) < 1<<15 {
		bits++
	}
	return bits
}
