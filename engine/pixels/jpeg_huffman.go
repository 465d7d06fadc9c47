package pixels

import "encoding/binary"

// jpegBits reads the bits of entropy-coded data, where the byte ff is followed
// by a stuffed 00 and a marker ends the data. Past the end it gives zeros and
// counts them.
type jpegBits struct {
	data    []byte
	pos     int
	acc     uint64 // the next bits, from the top
	n       int    // how many of them are valid
	padding int    // how many of those, the last, are made up
}

// fill makes at least 57 bits valid.
func (b *jpegBits) fill() {
	if b.pos+8 <= len(b.data) {
		v := binary.BigEndian.Uint64(b.data[b.pos:])
		// Without a byte ff, whole bytes can be taken. Of a byte that fits in
		// part, the bits that fit are there already when it comes next.
		if inverse := ^v; (inverse-0x01010101_01010101)&v&0x80808080_80808080 == 0 {
			b.acc |= v >> b.n
			taken := (63 - b.n) >> 3
			b.pos += taken
			b.n += taken * 8
			return
		}
	}
	for b.n <= 56 {
		b.acc |= uint64(b.nextByte()) << (56 - b.n)
		b.n += 8
	}
}

// nextByte returns the next data byte, or 0 past the end.
func (b *jpegBits) nextByte() byte {
	if b.pos < len(b.data) {
		if b.data[b.pos] != 0xff {
			b.pos++
			return b.data[b.pos-1]
		}
		// Any number of fill bytes may stand before a 00 or a marker.
		for i := b.pos + 1; i < len(b.data); i++ {
			if b.data[i] == 0 {
				b.pos = i + 1
				return 0xff
			}
			if b.data[i] != 0xff {
				break
			}
		}
	}
	b.padding += 8
	return 0
}

// overrun reports whether bits past the end of the data were taken.
func (b *jpegBits) overrun() bool { return b.n < b.padding }

// skip drops n bits; n is at most b.n.
func (b *jpegBits) skip(n int) {
	b.acc <<= n
	b.n -= n
}

// take returns the next n bits, at most 16; fill must have been called.
func (b *jpegBits) take(n int) int32 {
	v := int32(b.acc >> 1 >> (63 - n))
	b.skip(n)
	return v
}

// extend is T.81's RECEIVE and EXTEND: n bits that stand for a number of that
// many bits, negative if the first bit is 0. n is at most 16.
func (b *jpegBits) extend(n int) int32 {
	v := b.take(n)
	if n > 0 && v>>(n-1) == 0 {
		v += -1<<n + 1
	}
	return v
}

// jpegHuffman is a Huffman table made for decoding.
type jpegHuffman struct {
	set bool
	// quick is indexed by the next quickBits bits. An entry's low byte is the
	// number of bits to drop, 0 if the code is longer than quickBits; the next
	// byte is the symbol. The upper half is the coefficient that follows, if
	// it fits within quickBits as well and is not 0: its bits are among those
	// to drop.
	quick [1 << quickBits]uint32
	// limit[n] is one more than the largest code of n bits, with 16-n zeros
	// behind it, and offset[n]+code is the place in symbols of code.
	limit   [17]uint32
	offset  [17]int32
	symbols [256]uint8
}

const quickBits = 10

// readHuffman reads a DHT segment.
func (j *jpegDecoder) readHuffman(body []byte) error {
	for len(body) > 0 {
		class, id := body[0]>>4, body[0]&15
		if class > 1 || id > 3 {
			return corruptJPEG("huffman table %d of class %d", id, class)
		}
		if len(body) < 17 {
			return corruptJPEG("huffman table of %d bytes", len(body))
		}
		total := 0
		for _, n := range body[1:17] {
			total += int(n)
		}
		if total > 256 || len(body) < 17+total {
			return corruptJPEG("huffman table of %d codes in %d bytes", total, len(body)-17)
		}
		table := &j.huffman().ac[id]
		if class == 0 {
			table = &j.huffman().dc[id]
			for _, symbol := range body[17 : 17+total] {
				if symbol > 15 {
					return corruptJPEG("huffman table %d: DC difference of %d bits", id, symbol)
				}
			}
		}
		if !table.build([16]uint8(body[1:17]), body[17:17+total]) {
			return corruptJPEG("huffman table %d of class %d has more codes than fit", id, class)
		}
		body = body[17+total:]
	}
	return nil
}

// build makes the table for counts[n] codes of n+1 bits. It returns false if
// there is no such code.
func (h *jpegHuffman) build(counts [16]uint8, symbols []uint8) bool {
	*h = jpegHuffman{set: true}
	copy(h.symbols[:], symbols)
	code, at := uint32(0), 0
	for n := 1; n <= 16; n++ {
		h.offset[n] = int32(at) - int32(code)
		for range counts[n-1] {
			if code >= 1<<n {
				return false
			}
			if n <= quickBits {
				h.fillQuick(code, n, symbols[at])
			}
			code++
			at++
		}
		h.limit[n] = code << (16 - n)
		code <<= 1
	}
	return true
}

// fillQuick enters a code of n bits into the quick table.
func (h *jpegHuffman) fillQuick(code uint32, n int, symbol uint8) {
	free := quickBits - n
	size := int(symbol & 15)
	first := code << free
	for rest := range uint32(1) << free {
		entry := uint32(n) | uint32(symbol)<<8
		if size > 0 && size <= free {
			bits := jpegBits{acc: uint64(rest) << (64 - free), n: free}
			value := bits.extend(size)
			entry = uint32(n+size) | uint32(symbol)<<8 | uint32(uint16(value))<<16
		}
		h.quick[first+rest] = entry
	}
}

// symbol decodes a symbol; fill must have been called. It returns -1 if the
// bits are no code.
func (h *jpegHuffman) symbol(b *jpegBits) int {
	next := uint32(b.acc >> 48)
	for n := 1; n <= 16; n++ {
		if next < h.limit[n] {
			b.skip(n)
			return int(h.symbols[uint8(h.offset[n]+int32(next>>(16-n)))])
		}
	}
	return -1
}
