package ocr

import (
	"math"

	"github.com/denseflow/densereward/reward"
)

// resizeLinear is OpenCV's resize with INTER_LINEAR of 8-bit colours: weights of 11
// bits, two passes.
func resizeLinear(src *reward.Image, width, height int) *reward.Image {
	dst := &reward.Image{Width: width, Height: height, Pix: make([]uint8, width*height*3)}
	if width == src.Width && height == src.Height {
		copy(dst.Pix, src.Pix)
		return dst
	}
	if src.Width == 2*width && src.Height == 2*height {
		halve(dst, src) // which OpenCV does with areas
		return dst
	}
	columns := linearTaps(src.Width, width)
	for i := range columns { // beyond the edge a row is the edge alone
		if columns[i].at < 0 {
			columns[i] = linearTap{0, linearOne, 0}
		}
		if columns[i].at >= src.Width-1 {
			columns[i] = linearTap{src.Width - 1, linearOne, 0}
		}
	}
	above, below := make([]int32, width*3), make([]int32, width*3)
	for y, tap := range linearTaps(src.Height, height) {
		stretch(above, src, min(max(tap.at, 0), src.Height-1), columns)
		stretch(below, src, min(max(tap.at+1, 0), src.Height-1), columns)
		row := dst.Pix[y*width*3 : (y+1)*width*3]
		for i := range row {
			row[i] = uint8((tap.first*(above[i]>>4)>>16 + tap.second*(below[i]>>4)>>16 + 2) >> 2)
		}
	}
	return dst
}

// linearOne is a weight of 1.
const linearOne = 1 << 11

// linearTap weighs the samples at and at+1.
type linearTap struct {
	at            int
	first, second int32
}

func linearTaps(in, out int) []linearTap {
	scale := float64(in) / float64(out)
	taps := make([]linearTap, out)
	for i := range taps {
		f := float32((float64(i)+0.5)*scale - 0.5)
		at := int(math.Floor(float64(f)))
		f -= float32(at)
		taps[i] = linearTap{at, roundInt32((1 - f) * linearOne), roundInt32(f * linearOne)}
	}
	return taps
}

func roundInt32(v float32) int32 { return int32(math.RoundToEven(float64(v))) }

// stretch resamples row y of src.
func stretch(dst []int32, src *reward.Image, y int, columns []linearTap) {
	row := src.Pix[y*src.Width*3 : (y+1)*src.Width*3]
	for x, tap := range columns {
		next := min(tap.at+1, src.Width-1)
		for c := range 3 {
			dst[x*3+c] = int32(row[tap.at*3+c])*tap.first + int32(row[next*3+c])*tap.second
		}
	}
}

// halve averages squares of four pixels.
func halve(dst, src *reward.Image) {
	for y := range dst.Height {
		for x := range dst.Width {
			for c := range 3 {
				at := (2*y*src.Width+2*x)*3 + c
				sum := int(src.Pix[at]) + int(src.Pix[at+3]) + int(src.Pix[at+src.Width*3]) + int(src.Pix[at+src.Width*3+3])
				dst.Pix[(y*dst.Width+x)*3+c] = uint8((sum + 2) >> 2)
			}
		}
	}
}
