package pixels

import (
	"encoding/binary"
	"errors"
	"hash/adler32"
)

// inflater decompresses a zlib stream (RFC 1950, RFC 1951) whose size is known
// into memory that is there already. That is what makes it faster than
// compress/zlib, which must keep a window and stop at any byte: here input and
// output have slack behind them, and lengths are checked once a symbol.
type inflater struct {
	in   []byte // inSlack bytes of slack behind the stream
	pos  int
	size int    // of the stream
	acc  uint64 // the next bits, from the bottom
	n    int    // how many of them are valid

	out  []byte // outSlack bytes of slack behind the data
	at   int
	want int // length of the data

	literals  huffmanTable
	distances huffmanTable
	lengths   [320]uint8
}

const (
	inSlack  = 16       // a fill reads 8 bytes at most 8 past the end
	outSlack = 258 + 16 // a match may start at the end and ends on a word
)

// An entry of a huffmanTable has the bits of its code in the lowest byte, the
// number of extra bits in entryExtra, flags, and a value in its upper half.
const (
	entryExtra     = 8       // shift
	entryExtraMask = 0x1f    // after the shift
	entryTable     = 1 << 13 // the value is the place of a further table
	entryLiteral   = 1 << 14 // the value is a byte
	entrySpecial   = 1 << 15 // a further table, the end of a block or no code
	entryValue     = 16      // shift
	endOfBlock     = 256
)

const (
	literalBits  = 11
	distanceBits = 9
)

// huffmanTable is indexed by the next bits. Codes that are longer than root
// continue in tables behind.
type huffmanTable struct {
	root    int
	entries []uint32
}

var (
	errZlibHeader   = errors.New("bad zlib header")
	errZlibBlock    = errors.New("bad deflate block")
	errZlibCode     = errors.New("bad huffman code")
	errZlibDistance = errors.New("match before the start of the data")
	errZlibShort    = errors.New("compressed data ends early")
	errZlibLong     = errors.New("more pixels than the size declares")
	errZlibFew      = errors.New("fewer pixels than the size declares")
	errZlibChecksum = errors.New("zlib checksum does not match")
)

// inflate decompresses in, which has inSlack bytes behind the stream, to
// exactly len(out)-outSlack bytes.
func (z *inflater) inflate(out, in []byte) error {
	z.in, z.size, z.pos = in, len(in)-inSlack, 2
	z.out, z.want, z.at = out, len(out)-outSlack, 0
	z.acc, z.n = 0, 0
	if z.size < 6 || in[0]&15 != 8 || in[0]>>4 > 7 || in[1]&0x20 != 0 ||
		binary.BigEndian.Uint16(in)%31 != 0 {
		return errZlibHeader
	}
	for last := false; !last; {
		z.fill()
		last = z.take(1) == 1
		var err error
		switch z.take(2) {
		case 0:
			err = z.stored()
		case 1:
			if err = z.fixedTables(); err == nil {
				err = z.block()
			}
		case 2:
			if err = z.dynamicTables(); err == nil {
				err = z.block()
			}
		default:
			err = errZlibBlock
		}
		if err != nil {
			return err
		}
	}
	if z.at < z.want {
		return errZlibFew
	}
	z.align()
	if z.pos+4 > z.size {
		return errZlibShort
	}
	if binary.BigEndian.Uint32(in[z.pos:]) != adler32.Checksum(out[:z.want]) {
		return errZlibChecksum
	}
	return nil
}

// fill makes at least 56 bits valid; past the end they are of any value.
func (z *inflater) fill() {
	z.pos = min(z.pos, z.size+inSlack-8)
	z.acc |= binary.LittleEndian.Uint64(z.in[z.pos:]) << z.n
	z.pos += (63 - z.n) >> 3
	z.n |= 56
}

// take returns the next n bits, at most 32.
func (z *inflater) take(n int) int {
	v := z.acc & (1<<n - 1)
	z.acc >>= n
	z.n -= n
	return int(v)
}

// align drops the bits up to the next byte and gives back whole bytes.
func (z *inflater) align() {
	z.pos -= z.n / 8
	z.acc, z.n = 0, 0
}

// stored copies a block that is not compressed.
func (z *inflater) stored() error {
	z.align()
	if z.pos+4 > z.size {
		return errZlibShort
	}
	n := int(binary.LittleEndian.Uint16(z.in[z.pos:]))
	if n != int(^binary.LittleEndian.Uint16(z.in[z.pos+2:])) {
		return errZlibBlock
	}
	z.pos += 4
	switch {
	case n > z.size-z.pos:
		return errZlibShort
	case n > z.want-z.at:
		return errZlibLong
	}
	z.at += copy(z.out[z.at:], z.in[z.pos:z.pos+n])
	z.pos += n
	return nil
}

// block decompresses a block with the tables. The state of the stream is kept
// in variables, since fields would go through memory at every symbol.
func (z *inflater) block() error {
	in, pos, acc, n := z.in, z.pos, z.acc, uint(z.n)
	out, at := z.out, z.at
	limit := z.size + inSlack - 8
	literals := (*[1 << literalBits]uint32)(z.literals.entries)
	for {
		if pos > limit {
			return errZlibShort
		}
		acc |= binary.LittleEndian.Uint64(in[pos:]) << (n & 63)
		pos += int(63-n) >> 3
		n |= 56

		// Two literals and a length with its extra bits need 15*2+15+5 bits.
		entry := literals[acc&(1<<literalBits-1)]
		for range 2 {
			if entry&entryLiteral == 0 {
				break
			}
			acc, n = acc>>(entry&63), n-uint(entry&63)
			out[at] = byte(entry >> entryValue)
			at++
			entry = literals[acc&(1<<literalBits-1)]
		}
		if entry&entryTable != 0 {
			entry = z.literals.deeper(entry, acc>>literalBits)
		}
		acc, n = acc>>(entry&63), n-uint(entry&63)
		if entry&entryLiteral != 0 {
			if at >= z.want {
				return errZlibLong
			}
			out[at] = byte(entry >> entryValue)
			at++
			continue
		}
		if entry&entrySpecial != 0 {
			z.pos, z.acc, z.n, z.at = pos, acc, int(n), at
			return z.endBlock(entry)
		}
		extra := entry >> entryExtra & entryExtraMask
		length := int(entry>>entryValue) + int(acc&(1<<extra-1))
		acc, n = acc>>extra, n-uint(extra)

		if pos > limit {
			return errZlibShort
		}
		acc |= binary.LittleEndian.Uint64(in[pos:]) << (n & 63)
		pos += int(63-n) >> 3
		n |= 56

		distance, used := z.distances.distance(acc)
		acc, n = acc>>(used&63), n-used
		if distance == 0 || distance > at || length > z.want-at {
			return badMatch(distance, at)
		}
		repeat(out[at:], out[at-distance:], distance, length)
		at += length
	}
}

// badMatch says what is wrong with a match.
func badMatch(distance, at int) error {
	switch {
	case distance == 0:
		return errZlibCode
	case distance > at:
		return errZlibDistance
	}
	return errZlibLong
}

// deeper follows an entry that stands for a further table, with the bits behind
// those that led to it.
func (h *huffmanTable) deeper(entry uint32, acc uint64) uint32 {
	index := acc & (1<<(entry>>entryExtra&entryExtraMask) - 1)
	return h.entries[entry>>entryValue+uint32(index)]
}

// distance decodes a distance, at most 28 bits of acc. It is 0 if the bits are
// no code.
func (h *huffmanTable) distance(acc uint64) (distance int, used uint) {
	entry := h.entries[acc&(1<<distanceBits-1)]
	if entry&entryTable != 0 {
		entry = h.deeper(entry, acc>>distanceBits)
	}
	if entry&entrySpecial != 0 {
		return 0, 0
	}
	code, extra := uint(entry&63), uint(entry>>entryExtra&entryExtraMask)
	return int(entry>>entryValue) + int(acc>>code&(1<<extra-1)), code + extra
}

// endBlock handles an entry that is neither literal nor length.
func (z *inflater) endBlock(entry uint32) error {
	switch {
	case entry>>entryValue != endOfBlock:
		return errZlibCode
	case z.pos-z.n/8 > z.size:
		return errZlibShort
	case z.at > z.want:
		return errZlibLong
	}
	return nil
}

// repeat copies length bytes from src to dst, which lies distance behind src in
// the same memory. It may write up to 7 bytes more.
func repeat(dst, src []byte, distance, length int) {
	if distance >= 8 {
		for i := 0; i < length; i += 8 {
			binary.LittleEndian.PutUint64(dst[i:], binary.LittleEndian.Uint64(src[i:]))
		}
		return
	}
	for i := range length {
		dst[i] = src[i]
	}
}
