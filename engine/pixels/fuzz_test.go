package pixels

import (
	"bytes"
	"compress/zlib"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// addFiles seeds a fuzz target with the small files of testdata/files whose
// names match.
func addFiles(f *testing.F, pattern string) {
	f.Helper()
	names, err := filepath.Glob("testdata/files/" + pattern)
	if err != nil || len(names) == 0 {
		f.Fatalf("no seeds match %s: %v", pattern, err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		if len(data) < 10_000 {
			f.Add(data)
		}
	}
}

// fuzzLimits keep an iteration short.
var fuzzLimits = Limits{MaxPixels: 1 << 16}

// FuzzDecode: any bytes give a whole picture within the limits or an error, and
// no decoder panics, though Decode would contain it.
func FuzzDecode(f *testing.F) {
	addFiles(f, "*.*g")
	addFiles(f, "*.webp")
	f.Add(pngHeader(60000, 60000))
	f.Add(jpegHeader(60000, 60000, 0xc2))
	d := &Decoder{limits: fuzzLimits}
	f.Fuzz(func(t *testing.T, data []byte) {
		img, err := d.Decode(data)
		if err != nil {
			if img != nil {
				t.Error("a picture with an error")
			}
			if strings.Contains(err.Error(), "panicked") {
				t.Error(err)
			}
			return
		}
		if err := fuzzLimits.check(img.Width, img.Height); err != nil {
			t.Error(err)
		}
		if len(img.Pix) != img.Width*img.Height*3 {
			t.Errorf("%d bytes for %dx%d", len(img.Pix), img.Width, img.Height)
		}
	})
}

// FuzzJPEGEngines: the Go decoder and libjpeg-turbo accept the same files, but
// for codes that are not in a table, which only Go always notices. (On nonsense
// within valid codes the pixels may differ: coefficients beyond 16 bits overflow
// in one and not in the other.)
func FuzzJPEGEngines(f *testing.F) {
	addFiles(f, "*.jpg")
	inGo := &Decoder{limits: fuzzLimits}
	withTurbo := turboDecoder(f, fuzzLimits)
	f.Fuzz(func(t *testing.T, data []byte) {
		if !bytes.HasPrefix(data, []byte("\xff\xd8\xff")) {
			return
		}
		a, errGo := inGo.Decode(data)
		b, errTurbo := withTurbo.Decode(data)
		if (errGo == nil) != (errTurbo == nil) && !errors.Is(errGo, errJPEGCode) {
			t.Fatalf("Go: %v; libjpeg-turbo: %v", errGo, errTurbo)
		}
		if errGo == nil && errTurbo == nil && (a.Width != b.Width || a.Height != b.Height) {
			t.Errorf("Go: %dx%d; libjpeg-turbo: %dx%d", a.Width, a.Height, b.Width, b.Height)
		}
	})
}

// FuzzInflate: the decompressor agrees with compress/zlib.
func FuzzInflate(f *testing.F) {
	for _, level := range []int{zlib.NoCompression, zlib.BestSpeed, zlib.BestCompression, zlib.HuffmanOnly} {
		for _, text := range []string{"", "a", strings.Repeat("abc", 999), strings.Repeat("\x00", 70000)} {
			var b bytes.Buffer
			w, err := zlib.NewWriterLevel(&b, level)
			if err != nil {
				f.Fatal(err)
			}
			if _, err := io.WriteString(w, text); err != nil {
				f.Fatal(err)
			}
			if err := w.Close(); err != nil {
				f.Fatal(err)
			}
			f.Add(b.Bytes())
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		const most = 1 << 18
		want, err := inflateStd(data, most)
		if len(want) == most {
			return
		}
		out := make([]byte, len(want)+outSlack)
		in := append(data[:len(data):len(data)], make([]byte, inSlack)...)
		got := new(inflater).inflate(out, in)
		if (got == nil) != (err == nil) {
			t.Fatalf("inflate: %v; compress/zlib: %v after %d bytes", got, err, len(want))
		}
		if err == nil && !bytes.Equal(out[:len(want)], want) {
			t.Error("inflate and compress/zlib differ")
		}
	})
}

func inflateStd(data []byte, most int64) ([]byte, error) {
	r, err := zlib.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, most))
}

// FuzzTensor: any tensor gives a whole picture or an error.
func FuzzTensor(f *testing.F) {
	f.Add(uint8(Uint8), uint8(HWC), 1, 2, make([]byte, 6))
	f.Add(uint8(Float32), uint8(CHW), 2, 1, make([]byte, 24))
	f.Add(uint8(Float16), uint8(HWC), 1, 1, halfData(0x3c00, 0x7c00, 0))
	f.Add(uint8(BFloat16), uint8(CHW), 1<<62, 1<<62, []byte{})
	f.Fuzz(func(t *testing.T, dtype, layout uint8, height, width int, data []byte) {
		img, err := FromTensor(Tensor{DType(dtype), Layout(layout), height, width, data}, fuzzLimits)
		if err == nil && len(img.Pix) != width*height*3 {
			t.Errorf("%d bytes for %dx%d", len(img.Pix), width, height)
		}
	})
}
