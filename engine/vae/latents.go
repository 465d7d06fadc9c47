package vae

import (
	"math"

	"github.com/denseflow/densereward/internal/floats"
	"github.com/denseflow/densereward/reward"
)

// layout says how the latents of a request lie: N images of C channels and
// height x width cells, as (N,C,h,w), (N,C,1,h,w) or packed tokens.
type layout struct {
	count, channels, height, width int
	side                           int // cells a side of a packed token, 0 for latents that are not packed
}

// cells is the number of elements of one image's latents.
func (l layout) cells() int { return l.channels * l.height * l.width }

// layoutOf reads a tensor's shape and checks the size of the images that it
// makes; nothing of that size has been allocated then. Packed tokens have the
// grid (tokenHeight, tokenWidth), or a square one where that is 0.
func (d *Decoder) layoutOf(shape []int, tokenHeight, tokenWidth int) (layout, error) {
	l := layout{channels: d.config.LatentChannels}
	switch len(shape) {
	case 5:
		if shape[2] != 1 {
			return l, reward.ErrInvalidValue.With("latents: shape %v: %d frames; one is an image, (N,%d,1,h,w)", shape, shape[2], l.channels)
		}
		fallthrough
	case 4:
		if shape[1] != l.channels {
			return l, reward.ErrInvalidValue.With("latents: shape %v: vae %s takes %d channels, (N,%d,h,w)", shape, d.name, l.channels, l.channels)
		}
		l.height, l.width = shape[len(shape)-2], shape[len(shape)-1]
	case 3:
		l.side = d.config.TokenSide
		features := l.channels * l.side * l.side
		if shape[2] != features {
			return l, reward.ErrInvalidValue.With("latents: shape %v: vae %s takes packed tokens of %d features, (N,L,%d)", shape, d.name, features, features)
		}
		var err error
		if l.height, l.width, err = tokenGrid(shape[1], tokenHeight, tokenWidth); err != nil {
			return l, err
		}
	default:
		return l, reward.ErrInvalidValue.With("latents: shape %v: want (N,%d,h,w) or packed (N,L,%d)", shape, l.channels, l.channels*d.config.TokenSide*d.config.TokenSide)
	}
	l.count = shape[0]
	if l.height < 1 || l.width < 1 || l.count < 0 {
		return l, reward.ErrInvalidValue.With("latents: shape %v holds no image", shape)
	}
	cell := max(l.side, 1)
	if err := d.checkSize(shape, l.height, l.width, d.config.PixelScale()*cell); err != nil {
		return l, err
	}
	l.height, l.width = l.height*cell, l.width*cell
	return l, nil
}

func tokenGrid(tokens, height, width int) (int, int, error) {
	if height == 0 && width == 0 {
		side := int(math.Sqrt(float64(tokens)))
		if side*side != tokens {
			return 0, 0, reward.ErrInvalidValue.With("latents: %d packed tokens are no square; give their grid, or the latents unpacked", tokens)
		}
		height, width = side, side
	}
	if tokens == 0 {
		return 0, 0, nil
	}
	if height < 1 || width < 1 || tokens/height != width || tokens%height != 0 {
		return 0, 0, reward.ErrInvalidValue.With("latents: %d packed tokens do not fill a grid of %dx%d", tokens, height, width)
	}
	return height, width, nil
}

// checkSize limits the image of height x width cells or tokens of scale pixels a
// side. It does not overflow.
func (d *Decoder) checkSize(shape []int, height, width, scale int) error {
	if longer := max(height, width); longer > d.maxSide/scale {
		return reward.ErrImageTooLarge.With("latents: shape %v: %d cells of %d pixels a side make an image longer than %d pixels", shape, longer, scale, d.maxSide)
	}
	if h, w := int64(height)*int64(scale), int64(width)*int64(scale); h*w > int64(d.maxPixels) {
		return reward.ErrImageTooLarge.With("latents: shape %v makes images of %dx%d, limit %d pixels", shape, w, h, d.maxPixels)
	}
	return nil
}

// elements converts and unpacks the latents of image i into dst (C,h,w), by way
// of tokens, as long as dst, if they are packed. It fails for numbers that are
// not finite.
func (l layout) elements(dst, tokens []float32, t *reward.Tensor, i int) *reward.Error {
	size := l.cells() * t.Type.Size()
	src := t.Data[i*size : (i+1)*size]
	into := dst
	if l.side > 0 {
		into = tokens
	}
	switch t.Type {
	case reward.Float16:
		floats.Float16s(into, src)
	case reward.BFloat16:
		floats.BFloat16s(into, src)
	default:
		floats.Float32s(into, src)
	}
	if !floats.Finite(into) {
		return reward.ErrNotFinite.With("latents: the sample holds NaN or infinity")
	}
	if l.side > 0 {
		Unpack(dst, into, l.channels, l.height, l.width, l.side)
	}
	return nil
}
