package jpeg

import "golang.org/x/sys/cpu"

// hasVectors reports whether the processor has AVX2.
func hasVectors() bool { return cpu.X86.HasAVX2 }

// inverseDCTAVX2 is inverseDCT, but for blocks with coefficients so large that 16
// bits might not hold what comes between the passes: those it leaves, and returns
// false. It clears the block.
//
//go:noescape
func inverseDCTAVX2(dst *uint8, stride int, block *[64]int32) bool

// doubleRowsAVX2 takes sums of three of near and one of far, and makes of each
// two samples: three of it, one of its neighbour on that side and what rounds the
// first or the second, divided by 16. It goes on up to a multiple of 16, and reads
// the samples before the first and behind the last.
//
//go:noescape
func doubleRowsAVX2(out, near, far *uint8, n int, first, second uint16)

// yccRowAVX2 is yccRow of n pixels; n is a multiple of 32.
//
//go:noescape
func yccRowAVX2(out, luma, cb, cr *uint8, n int)

// inverseDCTVectors is inverseDCT, and clears the block. It returns false if it
// leaves the block to inverseDCT.
func inverseDCTVectors(dst []uint8, stride int, block *[64]int32) bool {
	_ = dst[7*stride+7]
	return inverseDCTAVX2(&dst[0], stride, block)
}

// doubleRowsVectors makes a row twice as wide as two of the component's, the
// second of which counts a quarter. Before and behind those are slack bytes
// that may be read, and as many behind out that may be written.
func doubleRowsVectors(out, near, far []uint8, first, second uint16) {
	n := len(near)
	_, _, _ = out[:2*n+slack], near[:n+slack], far[:n+slack]
	doubleRowsAVX2(&out[0], &near[0], &far[0], n, first, second)
	// At the ends the sums are their own neighbours.
	left, right := 3*uint16(near[0])+uint16(far[0]), 3*uint16(near[n-1])+uint16(far[n-1])
	out[0], out[2*n-1] = uint8((4*left+first)>>4), uint8((4*right+second)>>4)
}

// yccRowVectors is yccRow of as many pixels as it says.
func yccRowVectors(out, luma, cb, cr []uint8) (done int) {
	done = len(luma) &^ 31
	if done > 0 {
		_, _, _ = out[3*done-1], cb[done-1], cr[done-1]
		yccRowAVX2(&out[0], &luma[0], &cb[0], &cr[0], done)
	}
	return done
}
