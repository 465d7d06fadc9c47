package jpeg

import (
	"bytes"
	"encoding/binary"
)

// bitReader reads the bits of entropy-coded data, without its stuffing. Past the
// end it gives zeros.
type bitReader struct {
	data []byte // with trailingZeros behind its end
	end  int
	pos  int    // of the byte that fills next; goes on past the end
	acc  uint64 // the next bits, from the top
	n    int    // how many of them are valid
}

// trailingZeros is how many zeros there are behind the data. It is more than what a
// block can take, 64 codes of 16 bits with as many bits behind each, so that to
// look for an overrun after each block is enough.
const trailingZeros = 512

// reset begins with the data of buf, in which its zeros are already.
func (b *bitReader) reset(buf []byte) {
	*b = bitReader{data: buf, end: len(buf) - trailingZeros}
}

// fill makes at least 56 bits valid.
func (b *bitReader) fill() {
	// Of a byte that fits in part, the bits that fit are there already when it
	// comes next.
	b.acc |= binary.BigEndian.Uint64(b.data[b.pos:]) >> b.n
	b.pos += (63 - b.n) >> 3
	b.n |= 56 // as many bytes more
}

// overrun reports whether bits past the end of the data were taken.
func (b *bitReader) overrun() bool { return b.pos*8-b.n > b.end*8 }

// skip drops n bits; n is at most b.n.
func (b *bitReader) skip(n int) {
	b.acc <<= n
	b.n -= n
}

// take returns the next n bits, at most 16; fill must have been called.
func (b *bitReader) take(n int) int32 {
	v := int32(b.acc >> 1 >> (63 - n))
	b.skip(n)
	return v
}

// extend is extended of the next n bits, which it drops; n is at most 16.
func (b *bitReader) extend(n int) int32 {
	v := extended(b.acc, n)
	b.skip(n)
	return v
}

// extended is T.81's RECEIVE and EXTEND: the first n bits, at most 16, stand for
// a number of that many bits, negative if the first bit is 0. That is as good as
// chance, so it is not decided by a jump.
func extended(bits uint64, n int) int32 {
	v := int32(bits >> 1 >> ((63 - n) & 63))
	negative := v>>((n-1)&31) - 1 // all ones if so
	return v + negative&(-1<<(n&31)+1)
}

// unstuff appends entropy-coded data up to the marker that ends it, at which it
// returns the place, and trailingZeros. In the data the byte ff is followed by a
// stuffed 00; any number of fill bytes ff may stand before that, or before the
// marker.
func unstuff(buf, data []byte, pos int) ([]byte, int) {
	for {
		n := bytes.IndexByte(data[pos:], 0xff)
		if n < 0 {
			n = len(data) - pos
		}
		buf = append(buf, data[pos:pos+n]...)
		pos += n
		next := pos + 1
		for next < len(data) && data[next] == 0xff {
			next++
		}
		if next >= len(data) || data[next] != 0 {
			return append(buf, make([]byte, trailingZeros)...), pos
		}
		buf = append(buf, 0xff)
		pos = next + 1
	}
}
