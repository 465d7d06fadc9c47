package png

import "encoding/binary"

// unfilter undoes a PNG filter: dst is the row, src its filtered bytes, above
// the row above, all of one length; pixel is the number of bytes of a pixel, at
// least 1. dst and src may be the same memory. filter is at most 4.
func unfilter(filter uint8, dst, src, above []byte, pixel int) {
	switch filter {
	case 0:
		copy(dst, src)
	case 1:
		unfilterSub(dst, src, pixel)
	case 2:
		unfilterUp(dst, src, above)
	case 3:
		unfilterAverage(dst, src, above, pixel)
	case 4:
		switch pixel {
		case 3:
			unfilterPaeth3(dst, src, above)
		default:
			unfilterPaeth(dst, src, above, pixel)
		}
	}
}

func unfilterSub(dst, src []byte, pixel int) {
	copy(dst[:pixel], src)
	dst = dst[:len(src)]
	if pixel == 3 {
		a, b, c := dst[0], dst[1], dst[2]
		for i := 3; i+3 <= len(src); i += 3 {
			s, d := src[i:i+3:i+3], dst[i:i+3:i+3]
			a, b, c = a+s[0], b+s[1], c+s[2]
			d[0], d[1], d[2] = a, b, c
		}
		return
	}
	for i := pixel; i < len(src); i++ {
		dst[i] = src[i] + dst[i-pixel]
	}
}

// unfilterUp adds eight bytes at once: without their top bits, which cannot
// carry into each other then, and the top bits by exclusive or.
func unfilterUp(dst, src, above []byte) {
	const top = 0x80808080_80808080
	i := 0
	for ; i+8 <= len(src); i += 8 {
		a, b := binary.LittleEndian.Uint64(src[i:]), binary.LittleEndian.Uint64(above[i:])
		binary.LittleEndian.PutUint64(dst[i:], (a&^top+b&^top)^(a^b)&top)
	}
	for ; i < len(src); i++ {
		dst[i] = src[i] + above[i]
	}
}

func unfilterAverage(dst, src, above []byte, pixel int) {
	dst, above = dst[:len(src)], above[:len(src)]
	for i := range pixel {
		dst[i] = src[i] + above[i]/2
	}
	if pixel == 3 {
		r, g, b := dst[0], dst[1], dst[2]
		for i := 3; i+3 <= len(src); i += 3 {
			s, u, d := src[i:i+3:i+3], above[i:i+3:i+3], dst[i:i+3:i+3]
			r = s[0] + uint8((uint(r)+uint(u[0]))/2)
			g = s[1] + uint8((uint(g)+uint(u[1]))/2)
			b = s[2] + uint8((uint(b)+uint(u[2]))/2)
			d[0], d[1], d[2] = r, g, b
		}
		return
	}
	for i := pixel; i < len(src); i++ {
		dst[i] = src[i] + uint8((uint(dst[i-pixel])+uint(above[i]))/2)
	}
}

func unfilterPaeth(dst, src, above []byte, pixel int) {
	dst, above = dst[:len(src)], above[:len(src)]
	for i := range pixel {
		dst[i] = src[i] + above[i] // nothing on the left
	}
	for i := pixel; i < len(src); i++ {
		dst[i] = src[i] + uint8(paeth(int32(dst[i-pixel]), int32(above[i]), int32(above[i-pixel])))
	}
}

// unfilterPaeth3 is unfilterPaeth for RGB. A byte depends on the one three
// before it; the three chains run side by side.
func unfilterPaeth3(dst, src, above []byte) {
	var r, g, b, cr, cg, cb int32 // the pixel on the left and the one above it
	above, dst = above[:len(src)], dst[:len(src)]
	for i := 0; i+3 <= len(src); i += 3 {
		u := above[i : i+3 : i+3]
		ur, ug, ub := int32(u[0]), int32(u[1]), int32(u[2])
		s, d := src[i:i+3:i+3], dst[i:i+3:i+3]
		r = (int32(s[0]) + paeth(r, ur, cr)) & 0xff
		d[0] = uint8(r)
		g = (int32(s[1]) + paeth(g, ug, cg)) & 0xff
		d[1] = uint8(g)
		b = (int32(s[2]) + paeth(b, ub, cb)) & 0xff
		d[2] = uint8(b)
		cr, cg, cb = ur, ug, ub
	}
}

// paeth is the neighbour nearest to left+up-corner; on a tie left, then up. It
// is written without branches, which nobody could predict.
func paeth(left, up, corner int32) int32 {
	byLeft, byUp := up-corner, left-corner
	byCorner := byLeft + byUp
	byLeft, byUp, byCorner = max(byLeft, -byLeft), max(byUp, -byUp), max(byCorner, -byCorner)
	if byUp < byLeft {
		left = up
	}
	if byCorner < min(byLeft, byUp) {
		left = corner
	}
	return left
}
