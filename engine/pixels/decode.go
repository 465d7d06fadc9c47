package pixels

import (
	"bytes"
	"fmt"
	"sync"
)

// JPEGEngine chooses what decodes JPEG files. Both give the same bytes; of broken
// files libjpeg-turbo shows a few that Go refuses.
type JPEGEngine uint8

// The engines. With AVX2, Go is the faster one but for progressive files;
// without, libjpeg-turbo is.
const (
	JPEGAuto  JPEGEngine = iota // the faster; Go where libjpeg-turbo cannot be loaded
	JPEGGo                      // this package
	JPEGTurbo                   // libjpeg-turbo, loaded at run time
)

// DecoderConfig says how a Decoder works.
type DecoderConfig struct {
	Limits Limits
	JPEG   JPEGEngine
}

// A Decoder decodes image files. It keeps memory between files. The zero value
// has default limits and decodes JPEG in Go. A Decoder is safe for concurrent
// use and must not be copied.
type Decoder struct {
	limits Limits
	turbo  *turbo    // nil for Go
	auto   bool      // turbo only where it is faster
	scalar bool      // without vector instructions
	jpegs  sync.Pool // *jpegDecoder
	pngs   sync.Pool // *pngDecoder
	spares sync.Pool // *RGB, given back
}

// NewDecoder returns a Decoder. It fails only if JPEGTurbo is asked for and the
// library cannot be loaded.
func NewDecoder(c DecoderConfig) (*Decoder, error) {
	d := &Decoder{limits: c.Limits, auto: c.JPEG == JPEGAuto}
	if c.JPEG == JPEGGo {
		return d, nil
	}
	t, err := loadTurbo()
	if err != nil && c.JPEG == JPEGTurbo {
		return nil, fmt.Errorf("pixels: %w", err)
	}
	d.turbo = t
	return d, nil
}

// JPEGEngine names what decodes JPEG files: "go", or "libjpeg-turbo" with the
// name of the library's file, or "go and" that.
func (d *Decoder) JPEGEngine() string {
	if d.turbo == nil {
		return "go"
	}
	name := "libjpeg-turbo (" + d.turbo.name + ")"
	if d.auto && d.vectors() {
		return "go and " + name
	}
	return name
}

// vectors reports whether the processor's vector instructions are used.
func (d *Decoder) vectors() bool { return !d.scalar && jpegVectors() }

// Decode decodes a PNG, JPEG or WebP file to RGB.
func Decode(data []byte, limits Limits) (*RGB, error) {
	return (&Decoder{limits: limits}).Decode(data)
}

// Size reads the size that a PNG, JPEG or WebP file declares. It gives the
// errors that Decode gives up to there, so that a caller can bound the memory
// of what it decodes at once.
func Size(data []byte, limits Limits) (width, height int, err error) {
	defer func() {
		if p := recover(); p != nil {
			width, height, err = 0, 0, fmt.Errorf("%w: decoder panicked: %v", ErrCorrupt, p)
		}
	}()
	switch {
	case isJPEG(data):
		j := new(jpegDecoder)
		j.reset(data)
		width, height, err = j.size(limits)
	case isPNG(data):
		width, height, err = new(pngDecoder).size(data, limits)
	case isWebP(data):
		width, height, err = sizeWebP(data, limits)
	default:
		err = ErrFormat
	}
	if err != nil {
		return 0, 0, err
	}
	return width, height, nil
}

func isJPEG(data []byte) bool { return bytes.HasPrefix(data, []byte("\xff\xd8\xff")) }

func isPNG(data []byte) bool { return bytes.HasPrefix(data, []byte(pngSignature)) }

// Recycle gives back a picture that nobody reads any more. Its memory serves a
// next one of about the same size, which saves a fifth of the time of decoding
// a JPEG file: fresh memory is cleared, and collected again.
func (d *Decoder) Recycle(img *RGB) { d.spares.Put(img) }

// spare is a picture whose pixels are whatever they were, for decoders that
// write every one of them.
func (d *Decoder) spare(width, height int) *RGB {
	n := width * height * 3
	img, _ := d.spares.Get().(*RGB)
	if img == nil || cap(img.Pix) < n || cap(img.Pix)/2 > n {
		return NewRGB(width, height)
	}
	// A picture of its own, so that who still has the old one by mistake does
	// not see its size change.
	return &RGB{Width: width, Height: height, Pix: img.Pix[:n]}
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
	case isJPEG(data):
		return d.decodeJPEG(data)
	case isPNG(data):
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
	j.vectors = d.vectors()
	img, err := d.decodeJPEGWith(j, data)
	j.data = nil
	d.jpegs.Put(j)
	return img, err
}

// decodeJPEGWith has the library decode what it decodes as j does, where it is to.
// The rest is left to j: files that are broken or nearly so, where the library
// would guess, and rare kinds. So the answer to a file that is not broken does not
// depend on the machine.
func (d *Decoder) decodeJPEGWith(j *jpegDecoder, data []byte) (*RGB, error) {
	j.reset(data)
	wanted, err := d.wantsTurbo(j)
	if err != nil {
		return nil, err
	}
	if wanted {
		j.reset(data)
		if err := j.survey(d.limits); err != nil {
			return nil, err
		}
		if j.common() {
			img := d.spare(j.width, j.height)
			if d.turbo.decode(img, data[:j.pos]) {
				return img, nil
			}
			d.Recycle(img)
		}
	}
	j.reset(data)
	return j.decode(d.limits, d.spare)
}

// wantsTurbo reports whether the library is to decode a file, for which it may
// read the file's header.
func (d *Decoder) wantsTurbo(j *jpegDecoder) (bool, error) {
	if d.turbo == nil || !d.auto || !j.vectors {
		return d.turbo != nil, nil
	}
	_, _, err := j.size(d.limits)
	return j.progressive, err
}

func (d *Decoder) decodePNG(data []byte) (*RGB, error) {
	p, _ := d.pngs.Get().(*pngDecoder)
	if p == nil {
		p = new(pngDecoder)
	}
	p.picture = d.spare
	img, err := p.decode(data, d.limits)
	p.data = nil
	d.pngs.Put(p)
	return img, err
}
