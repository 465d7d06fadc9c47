// Package codec holds what the decoders of image files share: the kinds of
// errors, the limits on sizes, and where the memory of images comes from.
package codec

import (
	"errors"
	"fmt"
)

// The error that a decoder returns wraps one of these and names the field and
// the limit.
var (
	// ErrFormat is returned for bytes that are not a PNG, JPEG or WebP file.
	ErrFormat = errors.New("unknown image format: want PNG, JPEG or WebP")
	// ErrTooLarge is returned when the declared size exceeds Limits.
	ErrTooLarge = errors.New("image too large")
	// ErrCorrupt is returned when a file breaks the rules of its format or ends
	// early.
	ErrCorrupt = errors.New("corrupt image")
	// ErrUnsupported is returned for valid files of a kind that is not decoded
	// here: an animated WebP, a lossless, arithmetic or 12-bit JPEG.
	ErrUnsupported = errors.New("unsupported image")
)

// Defaults of Limits.
const (
	DefaultMaxPixels = 64 << 20
	DefaultMaxSide   = 1 << 15
)

// Limits bound the images that are accepted. They are applied to the size a
// header declares, before anything of that size is allocated. A zero field has
// its default.
type Limits struct {
	// MaxPixels bounds width*height; DefaultMaxPixels if zero.
	MaxPixels int
	// MaxSide bounds width and height each; DefaultMaxSide if zero. An image
	// one pixel wide and millions high is within MaxPixels, yet resizing it
	// needs memory for height times the new width.
	MaxSide int
}

// Check returns ErrCorrupt for a size without pixels and ErrTooLarge for one
// beyond the limits.
func (l Limits) Check(width, height int) error {
	pixels, side := l.MaxPixels, l.MaxSide
	if pixels == 0 {
		pixels = DefaultMaxPixels
	}
	if side == 0 {
		side = DefaultMaxSide
	}
	switch {
	case width < 1 || height < 1:
		return fmt.Errorf("%w: size %dx%d", ErrCorrupt, width, height)
	case width > side || height > side:
		return fmt.Errorf("%w: size %dx%d exceeds %d pixels a side", ErrTooLarge, width, height, side)
	case int64(width)*int64(height) > int64(pixels):
		return fmt.Errorf("%w: size %dx%d exceeds %d pixels", ErrTooLarge, width, height, pixels)
	}
	return nil
}
