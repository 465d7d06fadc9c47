package image

import (
	"fmt"
	"sync"

	"github.com/denseflow/densereward/engine/image/codec"
	"github.com/denseflow/densereward/engine/image/jpeg"
	"github.com/denseflow/densereward/engine/image/png"
	"github.com/denseflow/densereward/engine/image/webp"
	"github.com/denseflow/densereward/reward"
)

// Limits bound the images that are accepted.
type Limits = codec.Limits

// What can be wrong with a file; see package codec.
var (
	ErrFormat      = codec.ErrFormat
	ErrTooLarge    = codec.ErrTooLarge
	ErrCorrupt     = codec.ErrCorrupt
	ErrUnsupported = codec.ErrUnsupported
)

// A Decoder decodes image files. It keeps memory between files. The zero value
// has default limits. A Decoder is safe for concurrent use and must not be
// copied.
type Decoder struct {
	limits Limits
	jpegs  sync.Pool // *jpeg.Decoder
	pngs   sync.Pool // *png.Decoder
	spares sync.Pool // *reward.Image, given back
}

// NewDecoder returns a Decoder that refuses what exceeds limits with ErrTooLarge.
func NewDecoder(limits Limits) *Decoder { return &Decoder{limits: limits} }

// Decode decodes a PNG, JPEG or WebP file to RGB.
func Decode(data []byte, limits Limits) (*reward.Image, error) {
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
	case jpeg.Sniff(data):
		width, height, err = jpeg.Size(data, limits)
	case png.Sniff(data):
		width, height, err = png.Size(data, limits)
	case webp.Sniff(data):
		width, height, err = webp.Size(data, limits)
	default:
		err = ErrFormat
	}
	if err != nil {
		return 0, 0, err
	}
	return width, height, nil
}

// Recycle gives back a image that nobody reads any more. Its memory serves a
// next one of about the same size, which saves a fifth of the time of decoding
// a JPEG file: fresh memory is cleared, and collected again.
func (d *Decoder) Recycle(img *reward.Image) { d.spares.Put(img) }

// spare is a image whose pixels are whatever they were, for decoders that
// write every one of them.
func (d *Decoder) spare(width, height int) *reward.Image {
	n := width * height * 3
	img, _ := d.spares.Get().(*reward.Image)
	if img == nil || cap(img.Pix) < n || cap(img.Pix)/2 > n {
		return codec.NewImage(width, height)
	}
	// A image of its own, so that who still has the old one by mistake does
	// not see its size change.
	return &reward.Image{Width: width, Height: height, Pix: img.Pix[:n]}
}

// Decode decodes a PNG, JPEG or WebP file to RGB.
func (d *Decoder) Decode(data []byte) (img *reward.Image, err error) {
	// The file is one of many: a mistake in a decoder must not stop a
	// server.
	defer func() {
		if p := recover(); p != nil {
			img, err = nil, fmt.Errorf("%w: decoder panicked: %v", ErrCorrupt, p)
		}
	}()
	switch {
	case jpeg.Sniff(data):
		return decodeWith[jpeg.Decoder](&d.jpegs, data, d.limits, d.spare)
	case png.Sniff(data):
		return decodeWith[png.Decoder](&d.pngs, data, d.limits, d.spare)
	case webp.Sniff(data):
		return webp.Decode(data, d.limits, d.spare)
	}
	return nil, ErrFormat
}

// fileDecoder is *jpeg.Decoder or *png.Decoder.
type fileDecoder[T any] interface {
	*T
	Decode(data []byte, limits Limits, alloc codec.Alloc) (*reward.Image, error)
}

// decodeWith decodes data with a decoder of the pool. One that panicked does not
// return to it.
func decodeWith[T any, D fileDecoder[T]](pool *sync.Pool, data []byte, limits Limits, alloc codec.Alloc) (*reward.Image, error) {
	d, _ := pool.Get().(D)
	if d == nil {
		d = new(T)
	}
	img, err := d.Decode(data, limits, alloc)
	pool.Put(d)
	return img, err
}
