package main

import (
	"bytes"
	"testing"

	"github.com/denseflow/densereward/internal/loadgen"
	"github.com/denseflow/densereward/reward/wire"
)

// The bytes are what Python's pickle.dumps gives at protocol 3, without the
// memoisation of objects, which loads does not need.
func TestPickle(t *testing.T) {
	got := pickle([][]byte{{1, 2}, {}}, []string{"é"})
	want := []byte("\x80\x03}(X\x06\x00\x00\x00images](B\x02\x00\x00\x00\x01\x02B\x00\x00\x00\x00eX\x07\x00\x00\x00prompts](X\x02\x00\x00\x00\xc3\xa9eu.")
	if !bytes.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestPhotographsAreSixteenDifferentSquares(t *testing.T) {
	all, err := readPhotographs("../../engine/image/testdata/images")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, im := range all {
		if im.Width != side || im.Height != side || len(im.Pix) != 3*side*side {
			t.Errorf("%dx%d with %d bytes", im.Width, im.Height, len(im.Pix))
		}
		seen[string(im.Pix)] = true
	}
	if len(seen) != 16 {
		t.Errorf("%d different photographs, want 16", len(seen))
	}
}

func TestTheTableGivesRatiosToThePeerOfTheSameForm(t *testing.T) {
	report := func(rate, cpu float64) *loadgen.Report {
		return &loadgen.Report{ImagesPerSecond: rate, ServerCPU: cpu}
	}
	var b bytes.Buffer
	err := writeTable(&b, []row{
		{"flask", true, loadgen.JPEG, 4, report(100, 6), 0.02},
		{"fastapi", true, loadgen.PNG, 4, report(40, 20), 0},
		{"ours", false, loadgen.JPEG, 4, report(350, 2), 0.5},
		{"ours", false, loadgen.Raw, 4, report(2000, 0.5), 0},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `   server  form  in flight  images/s  CPU ms/image  p50 ms  p99 ms  others %  x images/s  x less CPU
    flask  jpeg          4       100          6.00       0       0         2                        
  fastapi   png          4        40         20.00       0       0         0                        
     ours  jpeg          4       350          2.00       0       0        50         3.5         3.0
     ours   raw          4      2000          0.50       0       0         0                        
`
	if b.String() != want {
		t.Errorf("\n%s\nwant\n%s", &b, want)
	}
}

func TestABatchLargerThanTheImagesRepeatsThem(t *testing.T) {
	files := fill(3, []wire.Image{{Encoded: []byte("a")}, {Encoded: []byte("b")}})
	if len(files) != 3 || string(files[2]) != "a" {
		t.Errorf("%q", files)
	}
}
