package jpeg

import "bytes"

// huffmanTable is a Huffman table made for decoding.
type huffmanTable struct {
	set   bool // by the file
	built bool // for counts and symbols; kept for the next file
	// counts[n] is the number of codes of n+1 bits; symbols are in their order.
	counts  [16]uint8
	symbols [256]uint8

	// quick is indexed by the next quickBits bits. An entry's low byte is the
	// length of the code, 0 if it is longer than quickBits; the next byte is
	// the symbol.
	quick [1 << quickBits]uint16
	// limit[n] is one more than the largest code of n bits, with 16-n zeros
	// behind it, and offset[n]+code is the place in symbols of code.
	limit  [17]uint32
	offset [17]int32

	paired bool
	pairs  [1 << quickBits]coefficientPair // indexed as quick is, once paired
}

const quickBits = 11

// readHuffman reads a DHT segment.
func (j *Decoder) readHuffman(body []byte) error {
	for len(body) > 0 {
		class, id := body[0]>>4, body[0]&15
		if class > 1 || id > 3 {
			return corrupt("huffman table %d of class %d", id, class)
		}
		if len(body) < 17 {
			return corrupt("huffman table of %d bytes", len(body))
		}
		total := 0
		for _, n := range body[1:17] {
			total += int(n)
		}
		if total > 256 || len(body) < 17+total {
			return corrupt("huffman table of %d codes in %d bytes", total, len(body)-17)
		}
		table := &j.huffman().ac[id]
		if class == 0 {
			table = &j.huffman().dc[id]
			for _, symbol := range body[17 : 17+total] {
				if symbol > 15 {
					return corrupt("huffman table %d: DC difference of %d bits", id, symbol)
				}
			}
		}
		if !table.build([16]uint8(body[1:17]), body[17:17+total]) {
			return corrupt("huffman table %d of class %d has more codes than fit", id, class)
		}
		body = body[17+total:]
	}
	return nil
}

// build makes the table for counts[n] codes of n+1 bits. It returns false if
// there is no such code. Most files have the same tables, so that there is
// nothing to do.
func (h *huffmanTable) build(counts [16]uint8, symbols []uint8) bool {
	if h.built && h.counts == counts && bytes.Equal(h.symbols[:len(symbols)], symbols) {
		h.set = true
		return true
	}
	*h = huffmanTable{counts: counts}
	copy(h.symbols[:], symbols)
	code, at := uint32(0), 0
	for n := 1; n <= 16; n++ {
		h.offset[n] = int32(at) - int32(code)
		for range counts[n-1] {
			if code >= 1<<n {
				return false
			}
			if n <= quickBits {
				free := quickBits - n
				for rest := range uint32(1) << free {
					h.quick[code<<free|rest] = uint16(n) | uint16(symbols[at])<<8
				}
			}
			code++
			at++
		}
		h.limit[n] = code << (16 - n)
		code <<= 1
	}
	h.set, h.built = true, true
	return true
}

// code finds the code that bits begin with. n is its length, 0 if there is none.
func (h *huffmanTable) code(bits uint64) (n, symbol int) {
	if entry := h.quick[bits>>(64-quickBits)]; entry != 0 {
		return int(entry & 0xff), int(entry >> 8)
	}
	return h.longCode(bits)
}

// longCode finds codes longer than quickBits.
func (h *huffmanTable) longCode(bits uint64) (n, symbol int) {
	next := uint32(bits >> 48)
	for n := quickBits + 1; n <= 16; n++ {
		if next < h.limit[n] {
			return n, int(h.symbols[uint8(h.offset[n]+int32(next>>(16-n)))])
		}
	}
	return 0, 0
}

// symbol decodes a symbol; fill must have been called. It returns -1 if the
// bits are no code.
func (h *huffmanTable) symbol(b *bitReader) int {
	n, symbol := h.code(b.acc)
	if n == 0 {
		return -1
	}
	b.skip(n)
	return symbol
}

// coefficientPair is the one or two AC coefficients that the next quickBits bits hold
// as a whole, with their codes, and that are between -128 and 127; 0 if they hold
// none.
type coefficientPair uint32

// bits is how many bits the coefficients take.
func (p coefficientPair) bits() int { return int(p & 63) }

// run is the number of zeros before the first coefficient.
func (p coefficientPair) run() int { return int(p >> 6 & 15) }

// step is the way from the first coefficient to the second, and 1 if there is no
// second.
func (p coefficientPair) step() int { return int(p >> 10 & 31) }

// more is 1 if there is a second coefficient.
func (p coefficientPair) more() int { return int(p >> 15 & 1) }

func (p coefficientPair) first() int32 { return int32(int8(p >> 16)) }

// second is 0 if there is no second coefficient.
func (p coefficientPair) second() int32 { return int32(p) >> 24 }

// pair makes the table of pairs, of a table of AC coefficients.
func (h *huffmanTable) pair() {
	if h.paired {
		return
	}
	h.paired = true
	const mask = 1<<quickBits - 1
	for i := range h.pairs {
		n, run, first := h.short(i)
		if n == 0 {
			continue
		}
		step, second := 1, int32(0)
		if m, zeros, value := h.short(i << n & mask); m != 0 && n+m <= quickBits {
			n, step, second = n+m, 1<<5|zeros+1, value
		}
		h.pairs[i] = coefficientPair(n | run<<6 | step<<10 | int(uint8(first))<<16 | int(uint8(second))<<24)
	}
}

// short is the coefficient that quickBits bits begin with, the zeros before it,
// and how many bits it takes: 0 if it takes more, is none or does not fit a byte.
func (h *huffmanTable) short(bits int) (n, run int, value int32) {
	entry := int(h.quick[bits])
	n, size := entry&0xff, entry>>8&15
	if size == 0 || n+size > quickBits {
		return 0, 0, 0
	}
	value = extended(uint64(bits)<<(64-quickBits)<<n, size)
	if value != int32(int8(value)) {
		return 0, 0, 0
	}
	return n + size, entry >> 12, value
}
