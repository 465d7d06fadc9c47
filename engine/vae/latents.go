package vae

import (
	"math"

	"github.com/denseflow/densereward/reward"
)

// layout says how the latents of a request lie: N pictures of C channels and
// height x width cells, as (N,C,h,w) or as packed tokens.
type layout struct {
	count, channels, height, width int
	packed                         bool
}

// cells is the number of elements of one picture's latents.
func (l layout) cells() int { return l.channels * l.height * l.width }

// layoutOf reads a tensor's shape. Packed tokens have the grid (tokenHeight,
// tokenWidth), or a square one where that is 0.
func (d *Decoder) layoutOf(shape []int, tokenHeight, tokenWidth int) (layout, error) {
	l := layout{channels: d.config.LatentChannels}
	switch len(shape) {
	case 4:
		if shape[1] != l.channels {
			return l, reward.ErrInvalidValue.With("latents: shape %v: vae %s takes %d channels, (N,%d,h,w)", shape, d.name, l.channels, l.channels)
		}
		l.height, l.width = shape[2], shape[3]
	case 3:
		features := l.channels * patch * patch
		if shape[2] != features {
			return l, reward.ErrInvalidValue.With("latents: shape %v: vae %s takes packed tokens of %d features, (N,L,%d)", shape, d.name, features, features)
		}
		l.packed = true
		if tokenHeight == 0 && tokenWidth == 0 {
			side := int(math.Sqrt(float64(shape[1])))
			if side*side != shape[1] {
				return l, reward.ErrInvalidValue.With("latents: %d packed tokens are no square; give their grid, or the latents unpacked", shape[1])
			}
			tokenHeight, tokenWidth = side, side
		}
		if tokenHeight < 1 || tokenWidth < 1 || shape[1]/tokenHeight != tokenWidth || shape[1]%tokenHeight != 0 {
			return l, reward.ErrInvalidValue.With("latents: %d packed tokens do not fill a grid of %dx%d", shape[1], tokenHeight, tokenWidth)
		}
		l.height, l.width = tokenHeight, tokenWidth
	default:
		return l, reward.ErrInvalidValue.With("latents: shape %v: want (N,%d,h,w) or packed (N,L,%d)", shape, l.channels, l.channels*patch*patch)
	}
	l.count = shape[0]
	scale := d.config.PixelScale()
	if l.packed {
		scale *= patch
	}
	if l.height < 1 || l.width < 1 || l.count < 0 {
		return l, reward.ErrInvalidValue.With("latents: shape %v holds no picture", shape)
	}
	if l.height > d.maxPixels/scale || l.width > d.maxPixels/scale/scale/l.height {
		return l, reward.ErrImageTooLarge.With("latents: shape %v makes pictures of %dx%d, limit %d pixels", shape, l.width*scale, l.height*scale, d.maxPixels)
	}
	if l.packed {
		l.height, l.width = l.height*patch, l.width*patch
	}
	return l, nil
}

// elements converts and unpacks the latents of picture i into dst (C,h,w), by
// way of tokens, as long as dst, if they are packed. It fails for numbers that
// are not finite.
func (l layout) elements(dst, tokens []float32, t *reward.Tensor, i int) *reward.Error {
	size := l.cells() * t.Type.Size()
	src := t.Data[i*size : (i+1)*size]
	into := dst
	if l.packed {
		into = tokens
	}
	switch t.Type {
	case reward.Float16:
		float16s(into, src)
	case reward.BFloat16:
		bfloat16s(into, src)
	default:
		float32s(into, src)
	}
	if !finite(into) {
		return reward.ErrNotFinite.With("latents: the sample holds NaN or infinity")
	}
	if l.packed {
		Unpack(dst, into, l.channels, l.height, l.width)
	}
	return nil
}
