package pixels

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// needVectors skips a test where there are no kernels to be tested.
func needVectors(t testing.TB) {
	t.Helper()
	if !jpegVectors() {
		t.Skip("needs a processor with AVX2")
	}
}

// largestColumn is the largest sum of a column's magnitudes that the kernel
// takes.
const largestColumn = 5905

func TestVectorsTransformBlocksAsGoDoes(t *testing.T) {
	needVectors(t)
	random := rand.New(rand.NewPCG(1, 2))
	column := func(block *[64]int32, x int, sum int32) {
		for y := 7; y > 0; y-- {
			part := random.Int32N(sum + 1)
			sum -= part
			block[y*8+x] = part * (1 - 2*random.Int32N(2))
		}
		block[x] = sum * (1 - 2*random.Int32N(2))
	}
	tests := []struct {
		name  string
		taken bool
		fill  func(block *[64]int32)
	}{
		{"nothing", true, func(*[64]int32) {}},
		{"as in a picture", true, func(b *[64]int32) {
			for i := range b {
				b[i] = random.Int32N(400/int32(i+1)+1) * (1 - 2*random.Int32N(2))
			}
			b[0] = random.Int32N(2049) - 1024
		}},
		{"columns as large as they may be", true, func(b *[64]int32) {
			for x := range 8 {
				column(b, x, largestColumn)
			}
		}},
		{"one coefficient as large as it may be", true, func(b *[64]int32) {
			b[random.IntN(64)] = largestColumn * (1 - 2*random.Int32N(2))
		}},
		{"a column that is too large", false, func(b *[64]int32) { column(b, random.IntN(8), largestColumn+1) }},
		{"a coefficient beyond 16 bits", false, func(b *[64]int32) { b[random.IntN(64)] = 1<<16 + random.Int32N(100) }},
		{"the least of all numbers", false, func(b *[64]int32) { b[random.IntN(64)] = -1 << 31 }},
		{"a sum beyond 32 bits", false, func(b *[64]int32) {
			for y := range 8 {
				b[y*8] = 1 << 29
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			const stride = 13
			for range 20000 {
				var block [64]int32
				tt.fill(&block)
				before, want := block, make([]uint8, 8*stride)
				got := make([]uint8, 8*stride)
				if taken := inverseDCTVectors(got, stride, &block); taken != tt.taken {
					t.Fatalf("taken is %t of %v", taken, before)
				}
				if !tt.taken {
					if block != before {
						t.Fatalf("%v became %v", before, block)
					}
					continue
				}
				scratch := before
				inverseDCT(want, stride, &scratch)
				if !bytes.Equal(got, want) || block != [64]int32{} {
					t.Fatalf("%v gave %v, want %v; left %v", before, got, want, block)
				}
			}
		})
	}
}

func TestVectorsDoubleRowsAsGoDoes(t *testing.T) {
	needVectors(t)
	random := rand.New(rand.NewPCG(3, 4))
	row := func(n int) []uint8 {
		all := make([]uint8, jpegSlack+n+jpegSlack)
		for i := range all {
			all[i] = uint8(random.Uint32() >> (random.UintN(2) * 24)) // often 0 or 255
		}
		return all[jpegSlack : jpegSlack+n]
	}
	for n := 3; n < 150; n++ {
		near, far := row(n), row(n)
		got, want, sums := make([]uint8, 2*n+jpegSlack), make([]uint8, 2*n), make([]int16, n)
		doubleRowsVectors(got, near, far, 8, 7)
		sumRows(sums, near, far)
		doubleSums(want, sums)
		if !bytes.Equal(got[:2*n], want) {
			t.Fatalf("%d samples, with the row beside: %v, want %v", n, got[:2*n], want)
		}
		doubleRowsVectors(got, near, near, 4, 8)
		doubleRow(want, near)
		if !bytes.Equal(got[:2*n], want) {
			t.Fatalf("%d samples, alone: %v, want %v", n, got[:2*n], want)
		}
	}
}

func TestVectorsConvertEveryColour(t *testing.T) {
	needVectors(t)
	const n = 256 + 31
	luma, blue, red := make([]uint8, n), make([]uint8, n), make([]uint8, n)
	got, want := make([]uint8, 3*n), make([]uint8, 3*n)
	for i := range luma {
		luma[i] = uint8(i)
	}
	for cb := range 256 {
		copy(blue, slices.Repeat([]uint8{uint8(cb)}, n))
		for cr := range 256 {
			copy(red, slices.Repeat([]uint8{uint8(cr)}, n))
			done := yccRowVectors(got, luma, blue, red)
			yccRow(want, luma, blue, red)
			if done != 256 || !bytes.Equal(got[:3*done], want[:3*done]) {
				t.Fatalf("cb %d, cr %d: %d pixels, of which some differ", cb, cr, done)
			}
		}
	}
}

// FuzzJPEGVectors: vector instructions change nothing.
func FuzzJPEGVectors(f *testing.F) {
	needVectors(f)
	addFiles(f, "*.jpg")
	with, without := &Decoder{limits: fuzzLimits}, &Decoder{limits: fuzzLimits, scalar: true}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !isJPEG(data) {
			return
		}
		a, errA := with.Decode(data)
		b, errB := without.Decode(data)
		if errA != nil || errB != nil {
			if errA == nil || errB == nil || errA.Error() != errB.Error() {
				t.Fatalf("with: %v; without: %v", errA, errB)
			}
			return
		}
		if a.Width != b.Width || a.Height != b.Height || !bytes.Equal(a.Pix, b.Pix) {
			t.Error("the pictures differ")
		}
	})
}

// A file with a few bytes changed behind its header mostly decodes to nonsense,
// with coefficients and runs of all sizes.
func TestVectorsDecodeNonsenseAsGoDoes(t *testing.T) {
	needVectors(t)
	random := rand.New(rand.NewPCG(5, 6))
	with, without := new(Decoder), &Decoder{scalar: true}
	decoded := 0
	for _, name := range []string{"420.jpg", "422.jpg", "444.jpg", "gray.jpg", "restart.jpg", "quality-3.jpg", "quality-100.jpg", "422-progressive.jpg"} {
		file := readFile(t, "files/"+name)
		header := bytes.LastIndex(file, []byte{0xff, 0xda})
		for range 300 {
			data := slices.Clone(file)
			for range 1 + random.IntN(8) {
				data[header+random.IntN(len(data)-header)] = uint8(random.Uint32())
			}
			a, errA := with.Decode(data)
			b, errB := without.Decode(data)
			if (errA == nil) != (errB == nil) || errA != nil && errA.Error() != errB.Error() {
				t.Fatalf("%s: with: %v; without: %v", name, errA, errB)
			}
			if errA == nil {
				decoded++
				if !bytes.Equal(a.Pix, b.Pix) {
					t.Fatalf("%s: the pictures differ", name)
				}
			}
		}
	}
	if decoded < 100 {
		t.Errorf("only %d of the files were decoded", decoded)
	}
}
