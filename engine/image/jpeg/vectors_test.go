package jpeg

import (
	"bytes"
	stdjpeg "image/jpeg"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/denseflow/densereward/engine/image/codec"
	"github.com/denseflow/densereward/reward"
)

// needVectors skips a test where there are no kernels to be tested.
func needVectors(t testing.TB) {
	t.Helper()
	if !hasVectors() && os.Getenv("CI") == "true" {
		t.Fatal("CI must run on a processor with AVX2")
	}
	if !hasVectors() {
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
		{"as in an image", true, func(b *[64]int32) {
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
			for range 20000 {
				var block [64]int32
				tt.fill(&block)
				checkTransform(t, block, tt.taken)
			}
		})
	}
}

// checkTransform transforms a block both ways. One that is not taken stays as it is.
func checkTransform(t *testing.T, before [64]int32, wantTaken bool) {
	t.Helper()
	const stride = 13
	block, got, want := before, make([]uint8, 8*stride), make([]uint8, 8*stride)
	if taken := inverseDCTVectors(got, stride, &block); taken != wantTaken {
		t.Fatalf("taken is %t of %v", taken, before)
	}
	if !wantTaken {
		if block != before {
			t.Fatalf("%v became %v", before, block)
		}
		return
	}
	scratch := before
	inverseDCT(want, stride, &scratch)
	if !bytes.Equal(got, want) || block != [64]int32{} {
		t.Fatalf("%v gave %v, want %v; left %v", before, got, want, block)
	}
}

func TestVectorsDoubleRowsAsGoDoes(t *testing.T) {
	needVectors(t)
	random := rand.New(rand.NewPCG(3, 4))
	row := func(n int) []uint8 {
		all := make([]uint8, slack+n+slack)
		for i := range all {
			all[i] = uint8(random.Uint32() >> (random.UintN(2) * 24)) // often 0 or 255
		}
		return all[slack : slack+n]
	}
	for n := 3; n < 150; n++ {
		near, far := row(n), row(n)
		got, want, sums := make([]uint8, 2*n+slack), make([]uint8, 2*n), make([]int16, n)
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

// files are the JPEG files of package image's testdata.
func files(t testing.TB) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("../testdata/files/*.jpg")
	if err != nil || len(names) < 39 {
		t.Fatalf("%d files, %v", len(names), err)
	}
	all := map[string][]byte{}
	for _, name := range names {
		if all[filepath.Base(name)], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// fuzzLimits keep an iteration short.
var fuzzLimits = codec.Limits{MaxPixels: 1 << 16}

func seed(f *testing.F) {
	for _, data := range files(f) {
		if len(data) < 10_000 {
			f.Add(data)
		}
	}
}

// same compares what decoders with and without vector instructions make of data.
func same(t *testing.T, with, without *Decoder, data []byte, limits codec.Limits) (decoded bool) {
	t.Helper()
	a, errA := with.Decode(data, limits, codec.NewImage)
	b, errB := without.Decode(data, limits, codec.NewImage)
	if errA != nil || errB != nil {
		if errA == nil || errB == nil || errA.Error() != errB.Error() {
			t.Fatalf("with: %v; without: %v", errA, errB)
		}
		return false
	}
	if a.Width != b.Width || a.Height != b.Height || !bytes.Equal(a.Pix, b.Pix) {
		t.Fatal("the images differ")
	}
	return true
}

// FuzzVectors: vector instructions change nothing.
func FuzzVectors(f *testing.F) {
	needVectors(f)
	seed(f)
	with, without := new(Decoder), &Decoder{scalar: true}
	f.Fuzz(func(t *testing.T, data []byte) {
		if Sniff(data) {
			same(t, with, without, data, fuzzLimits)
		}
	})
}

// FuzzStandardLibrary: what is decoded here has the size that image/jpeg finds,
// where that reads the header: it knows fewer kinds.
func FuzzStandardLibrary(f *testing.F) {
	seed(f)
	d := new(Decoder)
	f.Fuzz(func(t *testing.T, data []byte) {
		if !Sniff(data) {
			return
		}
		img, err := d.Decode(data, fuzzLimits, codec.NewImage)
		if err != nil {
			return
		}
		config, err := stdjpeg.DecodeConfig(bytes.NewReader(data))
		if err == nil && (config.Width != img.Width || config.Height != img.Height) {
			t.Errorf("%dx%d; image/jpeg: %dx%d", img.Width, img.Height, config.Width, config.Height)
		}
	})
}

func TestVectorsDecodeFilesAsGoDoes(t *testing.T) {
	needVectors(t)
	with, without := new(Decoder), &Decoder{scalar: true}
	for name, data := range files(t) {
		t.Run(name, func(t *testing.T) {
			if !same(t, with, without, data, codec.Limits{}) {
				t.Error("not decoded")
			}
		})
	}
}

// A file with a few bytes changed behind its header mostly decodes to nonsense,
// with coefficients and runs of all sizes.
func TestVectorsDecodeNonsenseAsGoDoes(t *testing.T) {
	needVectors(t)
	random := rand.New(rand.NewPCG(5, 6))
	with, without := new(Decoder), &Decoder{scalar: true}
	all := files(t)
	decoded := 0
	for _, name := range []string{"420.jpg", "422.jpg", "444.jpg", "gray.jpg", "restart.jpg", "quality-3.jpg", "quality-100.jpg", "422-progressive.jpg"} {
		file := all[name]
		header := bytes.LastIndex(file, []byte{0xff, 0xda})
		for range 300 {
			data := slices.Clone(file)
			for range 1 + random.IntN(8) {
				data[header+random.IntN(len(data)-header)] = uint8(random.Uint32())
			}
			if same(t, with, without, data, codec.Limits{}) {
				decoded++
			}
		}
	}
	if decoded < 100 {
		t.Errorf("only %d of the files were decoded", decoded)
	}
}

// BenchmarkDecode decodes photographs of 512x512.
func BenchmarkDecode(b *testing.B) {
	all := files(b)
	for name, d := range map[string]*Decoder{"": {}, " without AVX2": {scalar: true}} {
		for kind, file := range map[string]string{"baseline": "photo-420.jpg", "progressive": "photo-420-progressive.jpg"} {
			b.Run(kind+name, func(b *testing.B) {
				img := codec.NewImage(512, 512)
				reuse := func(int, int) *reward.Image { return img }
				for b.Loop() {
					if _, err := d.Decode(all[file], codec.Limits{}, reuse); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
