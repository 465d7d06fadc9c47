package jpeg

import "github.com/denseflow/densereward/engine/image/codec"

// The inverse DCT of libjpeg's jidctint.c ("islow"), after Loeffler, Ligtenberg
// and Moschytz, "Practical fast 1-D DCT algorithms with 11 multiplications",
// 1989. Constants have dctBits fractional bits; between the passes numbers keep
// passBits. All roundings are libjpeg's, so that samples agree in every bit.
const (
	dctBits  = 13
	passBits = 2

	dct0298 = 2446  // 0.298631336
	dct0390 = 3196  // 0.390180644
	dct0541 = 4433  // 0.541196100
	dct0765 = 6270  // 0.765366865
	dct0899 = 7373  // 0.899976223
	dct1175 = 9633  // 1.175875602
	dct1501 = 12299 // 1.501321110
	dct1847 = 15137 // 1.847759065
	dct1961 = 16069 // 1.961570560
	dct2053 = 16819 // 2.053119869
	dct2562 = 20995 // 2.562915447
	dct3072 = 25172 // 3.072711026
)

// inverseDCT writes the samples of a block of dequantised coefficients, which
// it uses up, to an 8x8 square of dst.
func inverseDCT(dst []uint8, stride int, block *[64]int32) {
	for x := range 8 {
		c := block[x : x+57 : 64]
		if c[8]|c[16]|c[24]|c[32]|c[40]|c[48]|c[56] == 0 {
			v := c[0] << passBits
			c[0], c[8], c[16], c[24], c[32], c[40], c[48], c[56] = v, v, v, v, v, v, v, v
			continue
		}
		const shift, half = dctBits - passBits, 1 << (dctBits - passBits - 1)
		e0, e1, e2, e3, o0, o1, o2, o3 := dctHalves(c[0]<<dctBits+half, c[8], c[16], c[24], c[32], c[40], c[48], c[56])
		c[0], c[56] = (e0+o0)>>shift, (e0-o0)>>shift
		c[8], c[48] = (e1+o1)>>shift, (e1-o1)>>shift
		c[16], c[40] = (e2+o2)>>shift, (e2-o2)>>shift
		c[24], c[32] = (e3+o3)>>shift, (e3-o3)>>shift
	}
	for y := range 8 {
		r := block[y*8 : y*8+8 : y*8+8]
		out := dst[y*stride:][:8:8]
		// The last term shifts samples from around 0 to around 128.
		const shift = dctBits + passBits + 3
		const half = 1<<(shift-1) + 128<<shift
		e0, e1, e2, e3, o0, o1, o2, o3 := dctHalves(r[0]<<dctBits+half, r[1], r[2], r[3], r[4], r[5], r[6], r[7])
		out[0], out[7] = codec.Clamp8((e0+o0)>>shift), codec.Clamp8((e0-o0)>>shift)
		out[1], out[6] = codec.Clamp8((e1+o1)>>shift), codec.Clamp8((e1-o1)>>shift)
		out[2], out[5] = codec.Clamp8((e2+o2)>>shift), codec.Clamp8((e2-o2)>>shift)
		out[3], out[4] = codec.Clamp8((e3+o3)>>shift), codec.Clamp8((e3-o3)>>shift)
	}
}

// dctHalves transforms eight coefficients, of which s0 is scaled by dctBits and
// has a term for rounding. Sample i of the first four is e+o, and of the last
// four, counted from the end, e-o.
func dctHalves(s0, s1, s2, s3, s4, s5, s6, s7 int32) (e0, e1, e2, e3, o0, o1, o2, o3 int32) {
	z := (s2 + s6) * dct0541
	a, b := z+s2*dct0765, z-s6*dct1847
	s4 <<= dctBits
	sum, difference := s0+s4, s0-s4

	z1, z2, z3, z4 := (s7+s1)*-dct0899, (s5+s3)*-dct2562, s7+s3, s5+s1
	z5 := (z3 + z4) * dct1175
	z3, z4 = z3*-dct1961+z5, z4*-dct0390+z5
	return sum + a, difference + b, difference - b, sum - a,
		s1*dct1501 + z1 + z4, s3*dct3072 + z2 + z3, s5*dct2053 + z2 + z4, s7*dct0298 + z1 + z3
}

// fillBlock is inverseDCT of a block with a DC coefficient only.
func fillBlock(dst []uint8, stride int, dc int32) {
	const shift = passBits + 3
	v := codec.Clamp8((dc<<passBits+1<<(shift-1))>>shift + 128)
	for y := range 8 {
		out := dst[y*stride:][:8:8]
		for x := range out {
			out[x] = v
		}
	}
}
