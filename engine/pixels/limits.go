package pixels

import (
	"errors"
	"fmt"
)

// What can be wrong with a picture. The error that a function returns wraps one
// of these and names the field and the limit.
var (
	// ErrFormat: the bytes are not a PNG, JPEG or WebP file.
	ErrFormat = errors.New("unknown image format")
	// ErrTooLarge: the declared or decoded size exceeds Limits.
	ErrTooLarge = errors.New("image too large")
	// ErrCorrupt: the file breaks the rules of its format or ends early.
	ErrCorrupt = errors.New("corrupt image")
	// ErrUnsupported: the file is valid, but of a kind that is not decoded
	// here: an animated WebP, a lossless, arithmetic or 12-bit JPEG.
	ErrUnsupported = errors.New("unsupported image")
	// ErrShape: a tensor's shape, element type and length do not agree.
	ErrShape = errors.New("bad image tensor")
	// ErrNotFinite: a tensor holds a NaN or an infinity.
	ErrNotFinite = errors.New("image value is not finite")
)

// Defaults of Limits.
const (
	DefaultMaxPixels = 64 << 20
	DefaultMaxSide   = 1 << 15
)

// Limits bound the pictures that are accepted. They are applied to the size a
// header declares, before anything of that size is allocated. A zero field has
// its default.
type Limits struct {
	// MaxPixels bounds width*height; DefaultMaxPixels if zero.
	MaxPixels int
	// MaxSide bounds width and height each; DefaultMaxSide if zero. A picture
	// one pixel wide and millions high is within MaxPixels, yet resizing it
	// needs memory for height times the new width.
	MaxSide int
}

// check reports whether a picture of width x height is acceptable.
func (l Limits) check(width, height int) error {
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
