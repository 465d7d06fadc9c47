// Package resize resizes images with the bicubic filters of Pillow and torch, bit
// for bit.
package resize

import (
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/denseflow/densereward/engine/image/codec"
	"github.com/denseflow/densereward/reward"
)

// A Resizer resizes images with the bicubic filter (a = -0.5, widened by the
// scale when shrinking) in fixed point, two passes, 8 bits between them. It
// keeps the filter weights of the latest size pairs and its scratch memory. The
// zero value is ready; a Resizer is safe for concurrent use.
type Resizer struct {
	mu      sync.Mutex
	tables  map[tableKey]*table
	oldest  []tableKey // keys of tables in order of arrival
	scratch sync.Pool  // *[]uint8, the image between the passes
}

// maxTables bounds a Resizer's cache. A server sees a handful of image sizes,
// each of which costs two tables of some 20 KB.
const maxTables = 64

type tableKey struct {
	in, out int
	quantum quantum
}

// Resize is Pillow's Image.resize((width, height), Image.BICUBIC) of an RGB
// image, bit for bit: weights of 22 fractional bits. Equal sizes give a copy.
// It panics if width or height is not positive.
func (r *Resizer) Resize(src *reward.Image, width, height int) *reward.Image {
	return r.resize(src, width, height, pillowQuantum)
}

// ResizeTorch is torch's bicubic interpolate with antialias of a uint8 tensor,
// bit for bit. That is what the processors of transformers that are built on
// torchvision do. It differs from Resize only in the weights, which torch
// rounds to 16-bit integers. Equal sizes give a copy.
func (r *Resizer) ResizeTorch(src *reward.Image, width, height int) *reward.Image {
	return r.resize(src, width, height, torchQuantum)
}

// Resize is Resizer.Resize without a cache.
func Resize(src *reward.Image, width, height int) *reward.Image {
	return new(Resizer).Resize(src, width, height)
}

// ResizeTorch is Resizer.ResizeTorch without a cache.
func ResizeTorch(src *reward.Image, width, height int) *reward.Image {
	return new(Resizer).ResizeTorch(src, width, height)
}

func (r *Resizer) resize(src *reward.Image, width, height int, q quantum) *reward.Image {
	mustBeWhole(src)
	if width < 1 || height < 1 {
		panic(fmt.Sprintf("resize: to %dx%d", width, height))
	}
	dst := codec.NewImage(width, height)
	if width == src.Width && height == src.Height {
		copy(dst.Pix, src.Pix)
		return dst
	}
	if height == src.Height {
		resizeRows(dst.Pix, src.Pix, src.Width, r.table(src.Width, width, q))
		return dst
	}
	columns := r.table(src.Height, height, q)
	if width == src.Width {
		resizeColumns(dst.Pix, src.Pix, width*3, columns)
		return dst
	}
	between, release := r.borrow(src.Height * width * 3)
	defer release()
	resizeRows(between, src.Pix, src.Width, r.table(src.Width, width, q))
	resizeColumns(dst.Pix, between, width*3, columns)
	return dst
}

// mustBeWhole panics unless img has pixels, and all of them. Images that come
// from outside have passed through a decoder, so anything else is a mistake of
// the program.
func mustBeWhole(img *reward.Image) {
	if img.Width < 1 || img.Height < 1 || len(img.Pix) != img.Width*img.Height*3 {
		panic(fmt.Sprintf("resize: an image of %dx%d needs %d bytes, it has %d",
			img.Width, img.Height, img.Width*img.Height*3, len(img.Pix)))
	}
}

// borrow returns n bytes of scratch memory with any content.
func (r *Resizer) borrow(n int) (buf []uint8, release func()) {
	p, _ := r.scratch.Get().(*[]uint8)
	if p == nil || cap(*p) < n {
		b := make([]uint8, n)
		p = &b
	}
	return (*p)[:n], func() { r.scratch.Put(p) }
}

// table returns the weights for one direction, cached.
func (r *Resizer) table(in, out int, q quantum) *table {
	key := tableKey{in, out, q}
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.tables[key]; t != nil {
		return t
	}
	if r.tables == nil {
		r.tables = make(map[tableKey]*table)
	}
	if len(r.oldest) == maxTables {
		delete(r.tables, r.oldest[0])
		r.oldest = append(r.oldest[:0], r.oldest[1:]...)
	}
	t := newTable(in, out, q)
	r.tables[key] = t
	r.oldest = append(r.oldest, key)
	return t
}

// resizeRows resamples every row of src, which is inWidth pixels wide, to
// len(t.taps) pixels.
//
// Two rows go through at once: the samples of both at one place are the 32-bit
// halves of a word, so that one multiplication by a weight serves two pixels.
// See unpack for why the halves do not disturb each other.
func resizeRows(dst, src []uint8, inWidth int, t *table) {
	in, out := inWidth*3, len(t.taps)*3
	rows := len(src) / in
	pair := make([]uint64, in)
	for y := 0; y < rows; y += 2 {
		upper := src[y*in : (y+1)*in]
		lower, dstLower := upper, dst[y*out:(y+1)*out]
		if y+1 < rows {
			lower, dstLower = src[(y+1)*in:(y+2)*in], dst[(y+1)*out:(y+2)*out]
		}
		lower = lower[:len(upper)]
		pair = pair[:len(upper)]
		for i, v := range upper {
			pair[i] = uint64(v) | uint64(lower[i])<<32
		}
		resizeRowPair(dst[y*out:(y+1)*out], dstLower, pair, t)
	}
}

// resizeRowPair resamples two rows, upper in the low halves of pair.
func resizeRowPair(upper, lower []uint8, pair []uint64, t *table) {
	half := t.half()
	lower = lower[:len(upper)]
	for x, tap := range t.taps {
		r, g, b := half, half, half
		p := pair[tap.first*3:]
		for _, w := range t.weights[tap.at : tap.at+tap.count] {
			p3 := p[:3:3]
			r += w * p3[0]
			g += w * p3[1]
			b += w * p3[2]
			p = p[3:]
		}
		at := x * 3
		upper, lower := upper[at:at+3:at+3], lower[at:at+3:at+3]
		upper[0], lower[0] = t.unpack(r)
		upper[1], lower[1] = t.unpack(g)
		upper[2], lower[2] = t.unpack(b)
	}
}

// resizeColumns resamples the columns of src, whose rows are stride bytes, to
// len(t.taps) rows. It works on eight columns at a time: every fourth byte of a
// word taken together leaves two samples in 32-bit halves.
func resizeColumns(dst, src []uint8, stride int, t *table) {
	const pairs = 0x000000ff_000000ff
	half := t.half()
	for y, tap := range t.taps {
		row := dst[y*stride : (y+1)*stride]
		weights := t.weights[tap.at : tap.at+tap.count]
		rows := src[tap.first*stride:]
		x := 0
		for ; x+8 <= stride; x += 8 {
			s04, s15, s26, s37 := half, half, half, half
			at := x
			for _, w := range weights {
				v := binary.LittleEndian.Uint64(rows[at:])
				s04 += w * (v & pairs)
				s15 += w * (v >> 8 & pairs)
				s26 += w * (v >> 16 & pairs)
				s37 += w * (v >> 24 & pairs)
				at += stride
			}
			out := row[x : x+8 : x+8]
			out[0], out[4] = t.unpack(s04)
			out[1], out[5] = t.unpack(s15)
			out[2], out[6] = t.unpack(s26)
			out[3], out[7] = t.unpack(s37)
		}
		for ; x < stride; x++ {
			sum := half
			for i, w := range weights {
				sum += w * uint64(rows[i*stride+x])
			}
			row[x], _ = t.unpack(sum)
		}
	}
}
