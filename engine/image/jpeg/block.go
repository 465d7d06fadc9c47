package jpeg

import "encoding/binary"

// sequentialBlock decodes a block of a sequential scan to samples.
func (j *Decoder) sequentialBlock(c *component, x, y int) bool {
	ac, ok := j.readBlock(c)
	if !ok {
		return false
	}
	j.emit(c, x, y, ac)
	return true
}

// readBlock reads the coefficients of a block into j.block, dequantised. ac
// reports whether there are any but the first.
func (j *Decoder) readBlock(c *component) (ac, ok bool) {
	j.bits.fill()
	size := c.dc.symbol(&j.bits)
	if size < 0 {
		return false, false
	}
	c.pred += j.bits.extend(size)
	j.block[0] = c.pred * c.quant.value[0]

	// The state of the bits is in variables, where it is worked on fastest.
	table, quant := c.ac, &c.quant.value
	data, pos, acc, n := j.bits.data, j.bits.pos, j.bits.acc, j.bits.n
	for k := 1; k < 64; {
		acc |= binary.BigEndian.Uint64(data[pos:]) >> (n & 63) // as fill does it
		pos += (63 - n) >> 3
		n |= 56

		pair := table.pairs[acc>>(64-quickBits)]
		first := k + pair.run()
		second := first + pair.step()
		if pair != 0 && second < 64 {
			acc <<= pair.bits() & 63
			n -= pair.bits()
			j.block[zigzag[first&127]&63] = pair.first() * quant[first&63]
			// Where there is no second coefficient, 0 is what stands there.
			j.block[zigzag[second&127]&63] = pair.second() * quant[second&63]
			k = second + pair.more()
			ac = true
			continue
		}

		length, symbol := table.code(acc)
		if length == 0 {
			return false, false
		}
		acc <<= length & 63
		n -= length
		size := symbol & 15
		if size == 0 && symbol != 0xf0 {
			break // the end of the block
		}
		k += symbol >> 4
		if size > 0 {
			j.block[zigzag[k&127]&63] = extended(acc, size) * quant[k&63]
			acc <<= size & 63
			n -= size
			ac = true
		}
		k++
	}
	j.bits.pos, j.bits.acc, j.bits.n = pos, acc, n
	return ac, !j.bits.overrun()
}

// emit turns j.block into samples and clears it. ac says whether there are
// coefficients but the first.
func (j *Decoder) emit(c *component, x, y int, ac bool) {
	dst := j.plane(c)[(y*c.stride+x)*8:]
	if !ac {
		fillBlock(dst, c.stride, j.block[0])
		j.block[0] = 0
		return
	}
	if j.vectors() && inverseDCTVectors(dst, c.stride, &j.block) {
		return
	}
	inverseDCT(dst, c.stride, &j.block)
	j.block = [64]int32{}
}

// progressiveBlock returns the decoder for the blocks of a progressive scan.
func (j *Decoder) progressiveBlock(band scanBand) blockDecoder {
	decode := j.refineAC
	switch {
	case band.first == 0 && band.high == 0:
		decode = j.firstDC
	case band.first == 0:
		decode = j.refineDC
	case band.high == 0:
		decode = j.firstAC
	}
	return func(c *component, x, y int) bool {
		j.bits.fill()
		return decode(c, &j.allCoefficients(c)[y*(c.stride/8)+x], band)
	}
}

// firstDC reads the upper bits of a DC coefficient.
func (j *Decoder) firstDC(c *component, block *coefficients, band scanBand) bool {
	size := c.dc.symbol(&j.bits)
	if size < 0 {
		return false
	}
	c.pred += j.bits.extend(size)
	block[0] = int16(c.pred << band.low)
	return true
}

// refineDC reads one more bit of a DC coefficient.
func (j *Decoder) refineDC(_ *component, block *coefficients, band scanBand) bool {
	block[0] |= int16(j.bits.take(1) << band.low)
	return true
}

// firstAC reads the upper bits of a band of AC coefficients (T.81, G.1.2.2).
func (j *Decoder) firstAC(c *component, block *coefficients, band scanBand) bool {
	if j.endOfBand > 0 {
		j.endOfBand--
		return true
	}
	b := &j.bits
	for k := band.first; k <= band.last; k++ {
		b.fill()
		symbol := c.ac.symbol(b)
		if symbol < 0 {
			return false
		}
		run, size := symbol>>4, symbol&15
		if size == 0 && run < 15 {
			j.endOfBand = 1<<run + int(b.take(run)) - 1
			break
		}
		k += run
		if size > 0 {
			block[zigzag[k]] = int16(b.extend(size) << band.low)
		}
	}
	return true
}

// refineAC reads one more bit of the coefficients of a band that are not zero,
// and those that become so (T.81, G.1.2.3).
func (j *Decoder) refineAC(c *component, block *coefficients, band scanBand) bool {
	b := &j.bits
	k := band.first
	for ; k <= band.last && j.endOfBand == 0; k++ {
		b.fill()
		symbol := c.ac.symbol(b)
		if symbol < 0 || symbol&15 > 1 {
			return false
		}
		run, value := symbol>>4, int16(0)
		if symbol&15 == 1 {
			value = int16(-1) << band.low
			if b.take(1) == 1 {
				value = int16(1) << band.low
			}
		} else if run < 15 {
			j.endOfBand = 1<<run + int(b.take(run))
			break
		}
		k = j.refineNonZero(block, k, run, band)
		if value != 0 {
			block[zigzag[k]] = value
		}
	}
	if j.endOfBand > 0 {
		j.endOfBand--
		j.refineNonZero(block, k, -1, band)
	}
	return true
}

// refineNonZero reads a bit for each coefficient from k on that is not zero,
// until it has passed zeros of them that are. It returns the place of the next
// zero; with zeros -1 it goes through the band.
func (j *Decoder) refineNonZero(block *coefficients, k, zeros int, band scanBand) int {
	bit := int16(1) << band.low
	for ; k <= band.last; k++ {
		v := &block[zigzag[k]]
		if *v == 0 {
			if zeros == 0 {
				break
			}
			zeros--
			continue
		}
		j.bits.fill()
		if j.bits.take(1) == 0 || *v&bit != 0 {
			continue
		}
		if *v > 0 {
			*v += bit
		} else {
			*v -= bit
		}
	}
	return k
}

// reconstruct turns the coefficients of a progressive file into samples.
func (j *Decoder) reconstruct(c *component) {
	all := j.allCoefficients(c)
	for y := range c.blocksY {
		for x := range c.blocksX {
			ac := false
			block := &all[y*(c.stride/8)+x]
			for k := range 64 {
				if v := block[zigzag[k]]; v != 0 {
					j.block[zigzag[k]] = int32(v) * c.quant.value[k]
					ac = ac || k > 0
				}
			}
			j.emit(c, x, y, ac)
		}
	}
}
