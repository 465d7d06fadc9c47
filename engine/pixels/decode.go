package pixels

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"sync"

	"golang.org/x/image/webp"
)

// A Decoder decodes image files. It keeps memory between files. The zero value
// has default limits and decodes JPEG in Go. A Decoder is safe for concurrent
// use and must not be copied.
type Decoder struct {
	limits Limits
	jpegs  sync.Pool // *jpegDecoder
}

// Decode decodes a PNG, JPEG or WebP file to RGB.
func Decode(data []byte, limits Limits) (*RGB, error) {
	return (&Decoder{limits: limits}).Decode(data)
}

// Decode decodes a PNG, JPEG or WebP file to RGB.
func (d *Decoder) Decode(data []byte) (img *RGB, err error) {
	var format string
	var config func() (image.Config, error)
	var decode func() (image.Image, error)
	switch {
	case bytes.HasPrefix(data, []byte("\xff\xd8\xff")):
		return d.decodeJPEG(data)
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		format = "png"
		config = func() (image.Config, error) { return png.DecodeConfig(bytes.NewReader(data)) }
		decode = func() (image.Image, error) { return png.Decode(bytes.NewReader(data)) }
	case len(data) >= 12 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WEBP":
		format = "webp"
		config = func() (image.Config, error) { return webp.DecodeConfig(bytes.NewReader(data)) }
		decode = func() (image.Image, error) { return webp.Decode(bytes.NewReader(data)) }
	default:
		return nil, ErrFormat
	}
	defer func() {
		if p := recover(); p != nil {
			img, err = nil, fmt.Errorf("%w: %s: decoder panicked: %v", ErrCorrupt, format, p)
		}
	}()
	c, err := config()
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, format, err)
	}
	if err := d.limits.check(c.Width, c.Height); err != nil {
		return nil, err
	}
	m, err := decode()
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, format, err)
	}
	b := m.Bounds()
	img = NewRGB(b.Dx(), b.Dy())
	at := 0
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			n := color.NRGBAModel.Convert(m.At(x, y)).(color.NRGBA)
			img.Pix[at], img.Pix[at+1], img.Pix[at+2] = n.R, n.G, n.B
			at += 3
		}
	}
	return img, nil
}

func (d *Decoder) decodeJPEG(data []byte) (*RGB, error) {
	j, _ := d.jpegs.Get().(*jpegDecoder)
	if j == nil {
		j = new(jpegDecoder)
	}
	defer d.jpegs.Put(j)
	j.reset(data)
	return j.decode(d.limits)
}
