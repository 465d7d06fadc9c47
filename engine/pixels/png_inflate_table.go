package pixels

import "math/bits"

// lengthBase and so on are the tables of RFC 1951, 3.2.5.
var (
	lengthBase = [29]uint16{
		3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59,
		67, 83, 99, 115, 131, 163, 195, 227, 258,
	}
	lengthExtra = [29]uint8{
		0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3,
		4, 4, 4, 4, 5, 5, 5, 5, 0,
	}
	distanceBase = [30]uint16{
		1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769,
		1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577,
	}
	distanceExtra = [30]uint8{
		0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8,
		9, 9, 10, 10, 11, 11, 12, 12, 13, 13,
	}
	codeLengthOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
)

// literalEntry is the entry of a symbol of the literal and length alphabet.
func literalEntry(symbol int) uint32 {
	switch {
	case symbol < 256:
		return entryLiteral | uint32(symbol)<<entryValue
	case symbol == endOfBlock:
		return entrySpecial | endOfBlock<<entryValue
	case symbol-257 < len(lengthBase):
		i := symbol - 257
		return uint32(lengthExtra[i])<<entryExtra | uint32(lengthBase[i])<<entryValue
	}
	return entrySpecial
}

// distanceEntry is the entry of a symbol of the distance alphabet.
func distanceEntry(symbol int) uint32 {
	if symbol >= len(distanceBase) {
		return entrySpecial
	}
	return uint32(distanceExtra[symbol])<<entryExtra | uint32(distanceBase[symbol])<<entryValue
}

// codeLengthEntry is the entry of a symbol of the alphabet that code lengths
// are written in.
func codeLengthEntry(symbol int) uint32 { return uint32(symbol) << entryValue }

// build makes the table of canonical codes with the lengths, 0 for none. It
// returns false if they do not make a complete code; a single code of one bit
// may stand alone.
func (h *huffmanTable) build(root int, lengths []uint8, entry func(int) uint32) bool {
	var count, next [16]int
	for _, n := range lengths {
		count[n]++
	}
	count[0] = 0
	left, longest := 1, 0
	for n := 1; n < 16; n++ {
		next[n] = (next[n-1] + count[n-1]) << 1
		left = left<<1 - count[n]
		if left < 0 {
			return false
		}
		if count[n] > 0 {
			longest = n
		}
	}
	if left > 0 && longest > 1 {
		return false
	}
	h.root = root
	h.entries = resized(&h.entries, 1<<root)
	for i := range h.entries {
		h.entries[i] = entrySpecial
	}
	for symbol, n := range lengths {
		if n == 0 {
			continue
		}
		code := next[n]
		next[n]++
		reversed := int(bits.Reverse16(uint16(code)) >> (16 - n))
		h.enter(reversed, int(n), longest, entry(symbol))
	}
	return true
}

// enter puts the entry of a code of n bits, the first of them lowest, in all
// places whose index begins with it.
func (h *huffmanTable) enter(code, n, longest int, entry uint32) {
	if n <= h.root {
		for i := code; i < 1<<h.root; i += 1 << n {
			h.entries[i] = entry | uint32(n)
		}
		return
	}
	first := &h.entries[code&(1<<h.root-1)]
	deeper := longest - h.root
	if *first&entryTable == 0 {
		start := len(h.entries)
		*first = entrySpecial | entryTable | uint32(deeper)<<entryExtra | uint32(start)<<entryValue
		for range 1 << deeper {
			h.entries = append(h.entries, entrySpecial)
		}
		first = &h.entries[code&(1<<h.root-1)]
	}
	table := h.entries[*first>>entryValue:]
	for i := code >> h.root; i < 1<<deeper; i += 1 << (n - h.root) {
		table[i] = entry | uint32(n)
	}
}

// fixedTables sets the tables of RFC 1951, 3.2.6.
func (z *inflater) fixedTables() error {
	for i := range 288 {
		switch {
		case i < 144:
			z.lengths[i] = 8
		case i < 256:
			z.lengths[i] = 9
		case i < 280:
			z.lengths[i] = 7
		default:
			z.lengths[i] = 8
		}
	}
	for i := range 32 {
		z.lengths[288+i] = 5
	}
	return z.setTables(z.lengths[:288], z.lengths[288:320])
}

// dynamicTables reads the tables of a block (RFC 1951, 3.2.7).
func (z *inflater) dynamicTables() error {
	literals, distances, codes := z.take(5)+257, z.take(5)+1, z.take(4)+4
	if literals > 286 || distances > 30 {
		return errZlibBlock
	}
	var lengths [19]uint8
	z.fill()
	for _, symbol := range codeLengthOrder[:codes] {
		if z.n < 3 {
			z.fill()
		}
		lengths[symbol] = uint8(z.take(3))
	}
	var table huffmanTable
	if !table.build(7, lengths[:], codeLengthEntry) {
		return errZlibCode
	}
	total := literals + distances
	for i := 0; i < total; {
		z.fill()
		if z.pos-z.n/8 > z.size {
			return errZlibShort
		}
		entry := table.entries[z.acc&127]
		if entry&entrySpecial != 0 {
			return errZlibCode
		}
		z.take(int(entry & 63))
		value, times := uint8(entry>>entryValue), 1
		switch value {
		case 16:
			if i == 0 {
				return errZlibCode
			}
			value, times = z.lengths[i-1], 3+z.take(2)
		case 17:
			value, times = 0, 3+z.take(3)
		case 18:
			value, times = 0, 11+z.take(7)
		}
		if times > total-i {
			return errZlibCode
		}
		for range times {
			z.lengths[i] = value
			i++
		}
	}
	if z.lengths[endOfBlock] == 0 {
		return errZlibCode
	}
	return z.setTables(z.lengths[:literals], z.lengths[literals:total])
}

func (z *inflater) setTables(literals, distances []uint8) error {
	if !z.literals.build(literalBits, literals, literalEntry) ||
		!z.distances.build(distanceBits, distances, distanceEntry) {
		return errZlibCode
	}
	return nil
}
