package pixels

import (
	"bytes"
	"fmt"
	"sync"
)

// A Decoder decodes image files. It keeps memory between files. The zero value
// has default limits and decodes JPEG in Go. A Decoder is safe for concurrent
// use and must not be copied.
type Decoder struct {
	limits Limits
	jpegs  sync.Pool // *jpegDecoder
	pngs   sync.Pool // *pngDecoder
}

// Decode decodes a PNG, JPEG or WebP file to RGB.
func Decode(data []byte, limits Limits) (*RGB, error) {
	return (&Decoder{limits: limits}).Decode(data)
}

// Decode decodes a PNG, JPEG or WebP file to RGB.
func (d *Decoder) Decode(data []byte) (img *RGB, err error) {
	// The picture is one of many: a mistake in a decoder must not stop a
	// server. What panicked is not used again.
	defer func() {
		if p := recover(); p != nil {
			img, err = nil, fmt.Errorf("%w: decoder panicked: %v", ErrCorrupt, p)
		}
	}()
	switch {
	case bytes.HasPrefix(data, []byte("\xff\xd8\xff")):
		return d.decodeJPEG(data)
	case bytes.HasPrefix(data, []byte(pngSignature)):
		return d.decodePNG(data)
	case isWebP(data):
		return decodeWebP(data, d.limits)
	}
	return nil, ErrFormat
}

func (d *Decoder) decodeJPEG(data []byte) (*RGB, error) {
	j, _ := d.jpegs.Get().(*jpegDecoder)
	if j == nil {
		j = new(jpegDecoder)
	}
	j.reset(data)
	img, err := j.decode(d.limits)
	j.data = nil
	d.jpegs.Put(j)
	return img, err
}

func (d *Decoder) decodePNG(data []byte) (*RGB, error) {
	p, _ := d.pngs.Get().(*pngDecoder)
	if p == nil {
		p = new(pngDecoder)
	}
	img, err := p.decode(data, d.limits)
	p.data = nil
	d.pngs.Put(p)
	return img, err
}
