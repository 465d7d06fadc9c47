package image

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/denseflow/densereward/reward"
)

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func digest(img *reward.Image) string {
	sum := sha256.Sum256(img.Pix)
	return hex.EncodeToString(sum[:])
}

// expected is what Pillow makes of the files in testdata/files.
type expected struct {
	Float16Levels string `json:"float16_levels_sha256"`
	Resizes       []struct {
		Size   [2]int
		SHA256 string
	} `json:"resizes_of_level_9_png"`
	Files map[string]struct {
		Width, Height int
		SHA256        string
	}
}

func readExpected(t testing.TB) expected {
	t.Helper()
	var e expected
	if err := json.Unmarshal(readFile(t, "files/expected.json"), &e); err != nil {
		t.Fatal(err)
	}
	if len(e.Files) < 90 {
		t.Fatalf("expected.json has %d files", len(e.Files))
	}
	return e
}

// TestFilesDecodeAsPillowDecodesThem compares every byte, by SHA-256.
func TestFilesDecodeAsPillowDecodesThem(t *testing.T) {
	d := new(Decoder)
	for name, w := range readExpected(t).Files {
		t.Run(name, func(t *testing.T) {
			data := readFile(t, "files/"+name)
			img, err := d.Decode(data)
			if err != nil {
				t.Fatal(err)
			}
			if w, h, err := Size(data, Limits{}); w != img.Width || h != img.Height || err != nil {
				t.Errorf("Size is %dx%d, %v", w, h, err)
			}
			if img.Width != w.Width || img.Height != w.Height {
				t.Fatalf("size %dx%d, want %dx%d", img.Width, img.Height, w.Width, w.Height)
			}
			if got := digest(img); got != w.SHA256 {
				t.Errorf("SHA-256 %s, want %s", got, w.SHA256)
			}
		})
	}
}

func TestEveryFixtureIsExpected(t *testing.T) {
	want := readExpected(t).Files
	entries, err := os.ReadDir("testdata/files")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, ok := want[e.Name()]; !ok && e.Name() != "expected.json" {
			t.Errorf("%s is not in expected.json", e.Name())
		}
	}
}

func TestDecodersAreSafeForConcurrentUse(t *testing.T) {
	want := readExpected(t).Files
	d := new(Decoder)
	var group sync.WaitGroup
	for _, name := range []string{"420.jpg", "422-progressive.jpg", "gray.jpg", "level-9.png", "rgba-16.png", "alpha.webp"} {
		data := readFile(t, "files/"+name)
		group.Go(func() {
			for range 20 {
				img, err := d.Decode(data)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				if got := digest(img); got != want[name].SHA256 {
					t.Errorf("%s: SHA-256 %s, want %s", name, got, want[name].SHA256)
				}
			}
		})
	}
	group.Wait()
}

// pngHeader is a PNG file that ends after its header.
func pngHeader(width, height uint32) []byte {
	b := []byte("IHDR")
	b = binary.BigEndian.AppendUint32(b, width)
	b = binary.BigEndian.AppendUint32(b, height)
	b = append(b, 8, 2, 0, 0, 0)
	file := binary.BigEndian.AppendUint32([]byte("\x89PNG\r\n\x1a\n"), 13)
	file = append(file, b...)
	return binary.BigEndian.AppendUint32(file, crc32.ChecksumIEEE(b))
}

// jpegHeader is a JPEG file that ends after its frame header.
func jpegHeader(width, height uint16, frame byte) []byte {
	b := []byte{0xff, 0xd8, 0xff, frame, 0, 17, 8}
	b = binary.BigEndian.AppendUint16(b, height)
	b = binary.BigEndian.AppendUint16(b, width)
	return append(b, 3, 1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0)
}

// webpHeader is a WebP file of one chunk.
func webpHeader(fourCC string, body ...byte) []byte {
	b := binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(12+len(body)))
	b = append(b, "WEBP"+fourCC...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	return append(b, body...)
}

func TestBadFilesAreRefused(t *testing.T) {
	photo := readFile(t, "files/420.jpg")
	progressive := readFile(t, "files/422-progressive.jpg")
	png := readFile(t, "files/level-9.png")
	webp := readFile(t, "files/quality-40.webp")
	flipped := append([]byte(nil), png...)
	flipped[len(png)/2] ^= 1
	cases := []struct {
		name string
		data []byte
		want error
		says string
	}{
		{"an empty file", nil, ErrFormat, ""},
		{"a text", []byte("GET / HTTP/1.1"), ErrFormat, ""},
		{"a GIF", []byte("GIF89a\x01\x00\x01\x00"), ErrFormat, ""},
		{"a PNG header of 60000x60000", pngHeader(60000, 60000), ErrTooLarge, "60000x60000"},
		{"a PNG header of 2^31-1 squared", pngHeader(1<<31-1, 1<<31-1), ErrTooLarge, "32768"},
		{"a PNG header of 2^31", pngHeader(1<<31, 1), ErrCorrupt, "2147483648"},
		{"a PNG header without pixels", pngHeader(0, 5), ErrCorrupt, "0x5"},
		{"a PNG header alone", pngHeader(30000, 2000), ErrCorrupt, "ends"},
		{"a PNG one pixel wide and too high", pngHeader(1, 1<<15+1), ErrTooLarge, "32768"},
		{"a PNG signature alone", []byte("\x89PNG\r\n\x1a\n"), ErrCorrupt, "ends"},
		{"a PNG cut short", png[:len(png)-100], ErrCorrupt, "left"},
		{"a PNG with a flipped bit", flipped, ErrCorrupt, "checksum"},
		{"a JPEG header of 60000x60000", jpegHeader(60000, 60000, 0xc0), ErrTooLarge, "60000x60000"},
		{"a JPEG header of 20000x20000", jpegHeader(20000, 20000, 0xc2), ErrTooLarge, "67108864"},
		{"a JPEG header without rows", jpegHeader(10, 0, 0xc0), ErrCorrupt, "10x0"},
		{"a lossless JPEG", jpegHeader(10, 10, 0xc3), ErrUnsupported, "SOF3"},
		{"an arithmetic JPEG", jpegHeader(10, 10, 0xc9), ErrUnsupported, "SOF9"},
		{"a JPEG header alone", jpegHeader(10, 10, 0xc0), ErrCorrupt, "end-of-image"},
		{"a JPEG signature alone", []byte("\xff\xd8\xff"), ErrCorrupt, "end-of-image"},
		{"a JPEG cut within its data", photo[:len(photo)-200], ErrCorrupt, "end"},
		{"a JPEG cut and closed", append(photo[:len(photo)-200:len(photo)-200], 0xff, 0xd9), ErrCorrupt, "ends early"},
		{"a JPEG without end marker", photo[:len(photo)-2], ErrCorrupt, "end-of-image"},
		{"a progressive JPEG with scans missing", append(progressive[:len(progressive)/2:len(progressive)/2], 0xff, 0xd9), ErrCorrupt, ""},
		{"a WebP signature alone", []byte("RIFF\x04\x00\x00\x00WEBP"), ErrCorrupt, ""},
		{"a WebP cut short", webp[:len(webp)/2], ErrCorrupt, ""},
		{"a lossless WebP header of 16384x16384", webpHeader("VP8L", 0x2f, 0xff, 0xff, 0xff, 0x0f), ErrTooLarge, "16384x16384"},
		{"a lossy WebP header of 16383x16383", webpHeader("VP8 ", 0x10, 0, 0, 0x9d, 0x01, 0x2a, 0xff, 0x3f, 0xff, 0x3f), ErrTooLarge, "16383x16383"},
		{"an extended WebP header of 2^24", webpHeader("VP8X", 0, 0, 0, 0, 0xff, 0xff, 0xff, 0, 0, 0), ErrTooLarge, "16777216x1"},
		{"an animated WebP", webpHeader("VP8X", 2, 0, 0, 0, 9, 0, 0, 9, 0, 0), ErrUnsupported, "animation"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			img, err := Decode(c.data, Limits{})
			if !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if img != nil {
				t.Error("a image with the error")
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %q does not say %q", err, c.says)
			}
		})
	}
}

func TestSizeNeedsOnlyTheHeader(t *testing.T) {
	cases := []struct {
		name          string
		data          []byte
		width, height int
		want          error
	}{
		{"a PNG header", pngHeader(30000, 2000), 30000, 2000, nil},
		{"a JPEG header", jpegHeader(640, 480, 0xc2), 640, 480, nil},
		{"a WebP header", webpHeader("VP8X", 0, 0, 0, 0, 9, 0, 0, 19, 0, 0), 10, 20, nil},
		{"a PNG header of 60000x60000", pngHeader(60000, 60000), 0, 0, ErrTooLarge},
		{"a JPEG header of 60000x60000", jpegHeader(60000, 60000, 0xc0), 0, 0, ErrTooLarge},
		{"an arithmetic JPEG", jpegHeader(10, 10, 0xc9), 0, 0, ErrUnsupported},
		{"a JPEG without a frame", []byte("\xff\xd8\xff\xd9"), 0, 0, ErrCorrupt},
		{"a text", []byte("text"), 0, 0, ErrFormat},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			width, height, err := Size(c.data, Limits{})
			if width != c.width || height != c.height || !errors.Is(err, c.want) {
				t.Errorf("got %dx%d, %v; want %dx%d, %v", width, height, err, c.width, c.height, c.want)
			}
		})
	}
}

// TestDeclaredSizesCostNoMemory decodes headers that claim the largest image
// within the limits, and one beyond them.
func TestDeclaredSizesCostNoMemory(t *testing.T) {
	for name, data := range map[string][]byte{
		"PNG beyond the limit":  pngHeader(60000, 60000),
		"PNG within the limit":  pngHeader(30000, 2000),
		"JPEG beyond the limit": jpegHeader(60000, 60000, 0xc2),
		"JPEG within the limit": jpegHeader(30000, 2000, 0xc2),
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if _, err := Decode(data, Limits{}); err == nil {
				t.Fatal("no error")
			}
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 1<<18 {
				t.Errorf("%d bytes allocated", n)
			}
		})
	}
}

func TestLimitsApplyToEveryFormat(t *testing.T) {
	for _, name := range []string{"420.jpg", "level-9.png", "lossless.webp", "quality-40.webp"} {
		t.Run(name, func(t *testing.T) {
			data := readFile(t, "files/"+name)
			img, err := Decode(data, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			n := img.Width * img.Height
			if _, err := Decode(data, Limits{MaxPixels: n, MaxSide: img.Width}); err != nil {
				t.Errorf("at the limits: %v", err)
			}
			if _, err := Decode(data, Limits{MaxPixels: n - 1}); !errors.Is(err, ErrTooLarge) {
				t.Errorf("one pixel beyond: %v", err)
			}
			if _, err := Decode(data, Limits{MaxSide: img.Width - 1}); !errors.Is(err, ErrTooLarge) {
				t.Errorf("one column beyond: %v", err)
			}
		})
	}
}
