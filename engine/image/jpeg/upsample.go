package jpeg

import "github.com/denseflow/densereward/engine/image/codec"

// An upsampler brings the rows of a component to the image's size, as
// libjpeg's jdsample.c does: by triangular filter where a component has half
// the width or half the height or both, by repetition otherwise.
type upsampler struct {
	c          *component
	h, v       int // image samples per component sample
	triangular bool
	vectors    bool
	out        []uint8
	sums       []int16
}

func (j *Decoder) upsampler(c *component) upsampler {
	u := upsampler{c: c, h: j.maxH / c.h, v: j.maxV / c.v, vectors: j.vectors()}
	switch {
	case u.h == 2 && u.v <= 2:
		u.triangular = c.width > 2 // narrower ones libjpeg repeats
	case u.h == 1 && u.v == 2:
		u.triangular = true
	}
	if u.h != 1 || u.v != 1 {
		u.out = codec.Grow(&j.memory.rows[c.index], c.stride*u.h+slack)
		u.sums = codec.Grow(&j.memory.sums[c.index], c.stride)
	}
	return u
}

// row returns row y of the image; it is valid until the next call. What lies
// right of the image is padding.
func (u *upsampler) row(y int) []uint8 {
	switch {
	case u.h == 1 && u.v == 1:
		return u.samples(y)
	case !u.triangular:
		repeatRow(u.out, u.samples(y/u.v), u.h)
	case u.v == 1 && u.vectors:
		row := u.samples(y)
		doubleRowsVectors(u.out, row, row, 4, 8) // as its own neighbour, four times the sample
	case u.v == 1:
		doubleRow(u.out, u.samples(y))
	case u.h == 1:
		near, far := u.neighbours(y)
		// The upper of two rows rounds down on a tie, the lower up.
		blendRows(u.out, near, far, 1+y&1)
	case u.vectors:
		near, far := u.neighbours(y)
		doubleRowsVectors(u.out, near, far, 8, 7)
	default:
		near, far := u.neighbours(y)
		sumRows(u.sums, near, far)
		doubleSums(u.out, u.sums[:u.c.width])
	}
	return u.out
}

// samples returns row y of the component.
func (u *upsampler) samples(y int) []uint8 {
	return u.c.samples[y*u.c.stride:][:u.c.width]
}

// neighbours returns the component's row that contains row y of the image,
// which is twice as high, and the row next to it on y's side. The edge rows
// have themselves as neighbours.
func (u *upsampler) neighbours(y int) (near, far []uint8) {
	beside := y/2 - 1 + y&1*2
	return u.samples(y / 2), u.samples(min(max(beside, 0), u.c.height-1))
}

func repeatRow(out, in []uint8, times int) {
	for i, v := range in {
		for k := range times {
			out[i*times+k] = v
		}
	}
}

// doubleRow makes two samples of each: three quarters of it and a quarter of
// its neighbour on that side.
func doubleRow(out, in []uint8) {
	last := len(in) - 1
	out[0] = in[0]
	out[1] = uint8((3*int(in[0]) + int(in[1]) + 2) >> 2)
	for i := 1; i < last; i++ {
		v := 3 * int(in[i])
		out[2*i] = uint8((v + int(in[i-1]) + 1) >> 2)
		out[2*i+1] = uint8((v + int(in[i+1]) + 2) >> 2)
	}
	out[2*last] = uint8((3*int(in[last]) + int(in[last-1]) + 1) >> 2)
	out[2*last+1] = in[last]
}

// blendRows mixes three quarters of near and a quarter of far.
func blendRows(out, near, far []uint8, round int) {
	for i, v := range near {
		out[i] = uint8((3*int(v) + int(far[i]) + round) >> 2)
	}
}

// sumRows is blendRows without the division.
func sumRows(sums []int16, near, far []uint8) {
	sums, far = sums[:len(near)], far[:len(near)]
	for i, v := range near {
		sums[i] = 3*int16(v) + int16(far[i])
	}
}

// doubleSums is doubleRow of sums, which are four times the samples.
func doubleSums(out []uint8, sums []int16) {
	last := len(sums) - 1
	out = out[:2*len(sums)]
	out[0] = uint8((4*sums[0] + 8) >> 4)
	out[2*last+1] = uint8((4*sums[last] + 7) >> 4)
	before := sums[0]
	for i, after := range sums[1:] {
		// Between two samples: the second half of one, the first of the next.
		out[2*i+1] = uint8((3*before + after + 7) >> 4)
		out[2*i+2] = uint8((3*after + before + 8) >> 4)
		before = after
	}
}
