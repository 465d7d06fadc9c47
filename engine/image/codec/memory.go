package codec

import "github.com/denseflow/densereward/reward"

// Alloc returns an image of a size, whose pixels may be anything: decoders write
// every one of them.
type Alloc func(width, height int) *reward.Image

// NewImage returns a black image. It is an Alloc.
func NewImage(width, height int) *reward.Image {
	return &reward.Image{Width: width, Height: height, Pix: make([]uint8, width*height*3)}
}

// Grow returns n elements of any content, kept in *buf for the next call.
func Grow[T any](buf *[]T, n int) []T {
	if cap(*buf) < n {
		*buf = make([]T, n)
	}
	return (*buf)[:n]
}

// Interleave writes samples of three channels to out, which is three times as
// long as each of them.
func Interleave(out, r, g, b []uint8) {
	g, b = g[:len(r)], b[:len(r)]
	for i, v := range r {
		p := out[:3:3]
		p[0], p[1], p[2] = v, g[i], b[i]
		out = out[3:]
	}
}

// Clamp8 limits v to 0..255.
func Clamp8(v int32) uint8 {
	if uint32(v) < 256 {
		return uint8(v)
	}
	// All ones if v was too large, zero if it was negative.
	return uint8(^(v >> 31))
}
