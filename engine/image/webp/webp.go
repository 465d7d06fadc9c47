// Package webp decodes still WebP files to the bytes that libwebp gives.
package webp

import (
	"bytes"
	"fmt"
	"image"

	"github.com/denseflow/densereward/engine/image/codec"
	"github.com/denseflow/densereward/reward"
	"golang.org/x/image/webp"
)

// Sniff reports whether data begins like a WebP file.
func Sniff(data []byte) bool {
	return len(data) >= 12 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WEBP"
}

func corrupt(err error) error {
	return fmt.Errorf("%w: webp: %w", codec.ErrCorrupt, err)
}

// Size reads the size that a still WebP file declares.
func Size(data []byte, limits codec.Limits) (width, height int, err error) {
	// A VP8X chunk announces an animation in its flags.
	if len(data) > 20 && string(data[12:16]) == "VP8X" && data[20]&2 != 0 {
		return 0, 0, fmt.Errorf("%w: webp: animation", codec.ErrUnsupported)
	}
	config, err := webp.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return 0, 0, corrupt(err)
	}
	if err := limits.Check(config.Width, config.Height); err != nil {
		return 0, 0, fmt.Errorf("webp: %w", err)
	}
	return config.Width, config.Height, nil
}

// Decode decodes a still WebP file to an image from alloc. Of lossy files golang.org/x/image
// decodes the planes, but would have them be full-range YCbCr with repeated
// chroma; here they become what libwebp makes of them. Alpha is dropped.
func Decode(data []byte, limits codec.Limits, alloc codec.Alloc) (*reward.Image, error) {
	if _, _, err := Size(data, limits); err != nil {
		return nil, err
	}
	decoded, err := webp.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, corrupt(err)
	}
	size := decoded.Bounds().Size()
	if err := limits.Check(size.X, size.Y); err != nil {
		return nil, fmt.Errorf("webp: %w", err)
	}
	img := alloc(size.X, size.Y)
	switch m := decoded.(type) {
	case *image.NRGBA:
		for y := range size.Y {
			row := m.Pix[y*m.Stride:][:size.X*4]
			out := img.Pix[y*size.X*3:]
			for i := 0; i < len(row); i += 4 {
				copy(out[i/4*3:], row[i:i+3])
			}
		}
	case *image.YCbCr:
		drawVP8(img, m)
	case *image.NYCbCrA:
		drawVP8(img, &m.YCbCr)
	default:
		return nil, fmt.Errorf("%w: webp: decoded to %T", codec.ErrUnsupported, m)
	}
	return img, nil
}

// drawVP8 converts limited-range 4:2:0 planes as libwebp does by default, with
// "fancy" upsampling: each chroma sample is spread over the four pixels around
// the corner between it and its neighbours by weights of 9, 3, 3 and 1.
func drawVP8(img *reward.Image, m *image.YCbCr) {
	width, height := img.Width, img.Height
	chroma := (width + 1) / 2
	row := func(y int) vp8Row {
		at := y * m.CStride
		return vp8Row{m.Cb[at : at+chroma], m.Cr[at : at+chroma]}
	}
	last := (height+1)/2 - 1
	for y := range height {
		// Odd rows lie below the middle of their chroma row, even rows above.
		near := row(y / 2)
		far := row(min(max(y/2-1+y&1*2, 0), last))
		vp8Line(img.Pix[y*width*3:][:width*3], m.Y[y*m.YStride:][:width], near, far)
	}
}

// vp8Row is a row of chroma.
type vp8Row struct{ u, v []uint8 }

// at packs sample i; both halves have room for sums of 64 samples.
func (r vp8Row) at(i int) uint32 { return uint32(r.u[i]) | uint32(r.v[i])<<16 }

// vp8Line converts a row of pixels.
func vp8Line(out, luma []uint8, near, far vp8Row) {
	const one = 1<<16 + 1
	edge := func(n, f uint32) uint32 { return (3*n + f + 2*one) >> 2 & (0xff * one) }

	n0, f0 := near.at(0), far.at(0)
	vp8Pixel(out[:3], luma[0], edge(n0, f0))
	for i := 1; i < len(near.u); i++ {
		n1, f1 := near.at(i), far.at(i)
		// libwebp rounds twice: first the mean along a diagonal, in eighths.
		sum := n0 + n1 + f0 + f1 + 8*one
		rising := (sum + 2*(n1+f0)) >> 3 & (0x1fff * one)
		falling := (sum + 2*(n0+f1)) >> 3 & (0x1fff * one)
		x := 2*i - 1
		vp8Pixel(out[3*x:3*x+3], luma[x], (rising+n0)>>1&(0xff*one))
		if x+1 < len(luma) {
			vp8Pixel(out[3*x+3:3*x+6], luma[x+1], (falling+n1)>>1&(0xff*one))
		}
		n0, f0 = n1, f1
	}
	if last := len(luma) - 1; last&1 == 1 {
		vp8Pixel(out[3*last:3*last+3], luma[last], edge(n0, f0))
	}
}

// vp8Pixel converts a pixel of limited-range BT.601 with chroma u | v<<16, in
// libwebp's fixed point of 14 bits (src/dsp/yuv.h).
func vp8Pixel(out []uint8, luma uint8, chroma uint32) {
	u, v := int32(chroma&0xff), int32(chroma>>16)
	y := int32(luma) * 19077 >> 8
	out[0] = codec.Clamp8((y + v*26149>>8 - 14234) >> 6)
	out[1] = codec.Clamp8((y - u*6419>>8 - v*13320>>8 + 8708) >> 6)
	out[2] = codec.Clamp8((y + u*33050>>8 - 17685) >> 6)
}
