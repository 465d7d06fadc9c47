package png

import (
	"bytes"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/denseflow/densereward/engine/image/codec"
	"github.com/denseflow/densereward/reward"
)

func TestAnEncodedImageDecodesToItself(t *testing.T) {
	img := noise()
	file, err := Encode(img)
	if err != nil {
		t.Fatal(err)
	}
	back, err := new(Decoder).Decode(file, codec.Limits{}, codec.NewImage)
	if err != nil {
		t.Fatal(err)
	}
	if back.Width != img.Width || back.Height != img.Height || !bytes.Equal(back.Pix, img.Pix) {
		t.Error("the image changed")
	}
}

func TestEncodeRefusesImagesThatAreNone(t *testing.T) {
	for _, img := range []*reward.Image{{}, {Width: 2, Height: 2, Pix: make([]uint8, 11)}, {Width: -1, Height: -1, Pix: make([]uint8, 3)}} {
		if _, err := Encode(img); err == nil {
			t.Errorf("%dx%d with %d bytes: no error", img.Width, img.Height, len(img.Pix))
		}
	}
}

func noise() *reward.Image {
	img := codec.NewImage(61, 43)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range img.Pix {
		img.Pix[i] = uint8(random.Uint32())
	}
	return img
}

func BenchmarkEncode(b *testing.B) {
	file, err := os.ReadFile("../testdata/images/astronaut.png")
	if err != nil {
		b.Fatal(err)
	}
	img, err := new(Decoder).Decode(file, codec.Limits{}, codec.NewImage)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Encode(img); err != nil {
			b.Fatal(err)
		}
	}
}
