package loadgen

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
)

// Form is how images travel.
type Form string

// The forms.
const (
	Raw  Form = "raw"  // a uint8 tensor
	PNG  Form = "png"  // lossless file
	JPEG Form = "jpeg" // 4:2:0, quality 90
)

// jpegQuality is what image generators commonly save with.
const jpegQuality = 90

func Encode(im *reward.Image, f Form) (wire.Image, error) {
	var b bytes.Buffer
	var err error
	switch f {
	case Raw:
		return wire.Image{Tensor: reward.Uint8Tensor(im.Pix, im.Height, im.Width, 3)}, nil
	case PNG:
		err = png.Encode(&b, rgba(im))
	case JPEG:
		err = jpeg.Encode(&b, rgba(im), &jpeg.Options{Quality: jpegQuality})
	default:
		err = fmt.Errorf("loadgen: unknown form %q", f)
	}
	return wire.Image{Encoded: b.Bytes()}, err
}

// rgba is the image as the standard library's encoders take it, opaque.
func rgba(im *reward.Image) *image.RGBA {
	out := image.NewRGBA(image.Rect(0, 0, im.Width, im.Height))
	for i := range im.Width * im.Height {
		copy(out.Pix[4*i:], im.Pix[3*i:3*i+3])
		out.Pix[4*i+3] = 0xff
	}
	return out
}

// FromImage takes the colours of any decoded image.
func FromImage(src image.Image) *reward.Image {
	b := src.Bounds()
	im := &reward.Image{Width: b.Dx(), Height: b.Dy(), Pix: make([]uint8, 3*b.Dx()*b.Dy())}
	for y := range im.Height {
		for x := range im.Width {
			r, g, bl, _ := src.At(b.Min.X+x, b.Min.Y+y).RGBA()
			i := 3 * (y*im.Width + x)
			im.Pix[i], im.Pix[i+1], im.Pix[i+2] = uint8(r>>8), uint8(g>>8), uint8(bl>>8)
		}
	}
	return im
}

// Photograph makes an image that compresses about as a photograph does: noise
// whose power falls with frequency, in colours that mostly go together, with a
// little grain.
func Photograph(seed uint64, width, height int) *reward.Image {
	rng := rand.New(rand.NewPCG(seed, 1))
	light := clouds(rng, width, height)
	tint := [3][]float32{clouds(rng, width, height), clouds(rng, width, height), clouds(rng, width, height)}
	im := &reward.Image{Width: width, Height: height, Pix: make([]uint8, 3*width*height)}
	for i := range light {
		for c := range tint {
			v := 128 + 50*light[i] + 20*tint[c][i] + 1.5*float32(rng.NormFloat64())
			im.Pix[3*i+c] = uint8(min(max(v, 0), 255))
		}
	}
	return im
}

// clouds is a sum of smooth noises, each twice as fine as and weaker than
// the one before; about -3 to 3.
func clouds(rng *rand.Rand, width, height int) []float32 {
	out := make([]float32, width*height)
	strength := float32(1)
	for cell := max(width, height) / 2; cell >= 2; cell /= 2 {
		addNoise(out, rng, width, height, cell, strength)
		strength /= 1.4
	}
	return out
}

// addNoise adds random values a cell apart, with straight lines between them.
func addNoise(out []float32, rng *rand.Rand, width, height, cell int, strength float32) {
	columns, rows := width/cell+2, height/cell+2
	knots := make([]float32, columns*rows)
	for i := range knots {
		knots[i] = strength * float32(rng.NormFloat64())
	}
	for y := range height {
		fy := float64(y) / float64(cell)
		y0 := int(math.Floor(fy))
		ty := float32(fy - float64(y0))
		for x := range width {
			x0, tx := x/cell, float32(x%cell)/float32(cell)
			k := knots[y0*columns+x0:]
			top, bottom := k[0]+(k[1]-k[0])*tx, k[columns]+(k[columns+1]-k[columns])*tx
			out[y*width+x] += top + (bottom-top)*ty
		}
	}
}
