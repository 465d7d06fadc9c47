package pixels

// sequentialBlock decodes a block of a sequential scan to samples.
func (j *jpegDecoder) sequentialBlock(c *jpegComponent, x, y int) bool {
	last, ok := j.readBlock(c)
	if !ok {
		return false
	}
	j.emit(c, x, y, last)
	return true
}

// readBlock reads the coefficients of a block into j.block, dequantised. last
// is the place of the last in zigzag order.
func (j *jpegDecoder) readBlock(c *jpegComponent) (last int, ok bool) {
	b := j.bits
	b.fill()
	size := c.dc.symbol(&b)
	if size < 0 {
		return 0, false
	}
	c.pred += b.extend(size)
	j.block[0] = c.pred * c.quant.value[0]

	ac, quant := c.ac, &c.quant.value
	for k := 1; k < 64; k++ {
		if b.n < 32 { // a code and its bits
			b.fill()
		}
		entry := ac.quick[b.acc>>(64-quickBits)]
		if value := int32(entry) >> 16; value != 0 {
			b.skip(int(entry & 0xff))
			k += int(entry >> 12 & 15)
			j.block[zigzag[k]&63] = value * quant[k&63]
			last = k
			continue
		}
		var symbol int
		if entry&0xff != 0 {
			b.skip(int(entry & 0xff))
			symbol = int(entry >> 8 & 0xff)
		} else if symbol = ac.symbol(&b); symbol < 0 {
			j.bits = b
			return 0, false
		}
		size := symbol & 15
		if size == 0 {
			if symbol != 0xf0 {
				break
			}
			k += 15
			continue
		}
		k += symbol >> 4
		j.block[zigzag[k]&63] = b.extend(size) * quant[k&63]
		last = k
	}
	j.bits = b
	return last, true
}

// emit turns j.block into samples and clears it.
func (j *jpegDecoder) emit(c *jpegComponent, x, y, last int) {
	dst := j.plane(c)[(y*c.stride+x)*8:]
	if last == 0 {
		fillBlock(dst, c.stride, j.block[0])
		j.block[0] = 0
		return
	}
	inverseDCT(dst, c.stride, &j.block)
	j.block = [64]int32{}
}

// progressiveBlock returns the decoder for the blocks of a progressive scan.
func (j *jpegDecoder) progressiveBlock(band jpegBand) blockDecoder {
	decode := j.refineAC
	switch {
	case band.first == 0 && band.high == 0:
		decode = j.firstDC
	case band.first == 0:
		decode = j.refineDC
	case band.high == 0:
		decode = j.firstAC
	}
	return func(c *jpegComponent, x, y int) bool {
		j.bits.fill()
		return decode(c, &j.allCoefficients(c)[y*(c.stride/8)+x], band)
	}
}

// firstDC reads the upper bits of a DC coefficient.
func (j *jpegDecoder) firstDC(c *jpegComponent, block *jpegCoefficients, band jpegBand) bool {
	size := c.dc.symbol(&j.bits)
	if size < 0 {
		return false
	}
	c.pred += j.bits.extend(size)
	block[0] = int16(c.pred << band.low)
	return true
}

// refineDC reads one more bit of a DC coefficient.
func (j *jpegDecoder) refineDC(_ *jpegComponent, block *jpegCoefficients, band jpegBand) bool {
	block[0] |= int16(j.bits.take(1) << band.low)
	return true
}

// firstAC reads the upper bits of a band of AC coefficients (T.81, G.1.2.2).
func (j *jpegDecoder) firstAC(c *jpegComponent, block *jpegCoefficients, band jpegBand) bool {
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
func (j *jpegDecoder) refineAC(c *jpegComponent, block *jpegCoefficients, band jpegBand) bool {
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
func (j *jpegDecoder) refineNonZero(block *jpegCoefficients, k, zeros int, band jpegBand) int {
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
func (j *jpegDecoder) reconstruct(c *jpegComponent) {
	all := j.allCoefficients(c)
	for y := range c.blocksY {
		for x := range c.blocksX {
			last := 0
			block := &all[y*(c.stride/8)+x]
			for k := range 64 {
				if v := block[zigzag[k]]; v != 0 {
					j.block[zigzag[k]] = int32(v) * c.quant.value[k]
					last = k
				}
			}
			j.emit(c, x, y, last)
		}
	}
}
