package dense

import "fmt"

// Float is the element type of a map.
type Float interface{ float32 | float64 }

// AdaptiveAvgPool averages src, a map on the grid in, to dst, a map on the grid
// out: cell i of n covers the source rows from floor(i*m/n) up to but not
// including ceil((i+1)*m/n), and columns likewise, so that neighbouring cells
// share a row where n does not divide m, and a larger grid repeats values.
// Sums are float64. dst must not overlap src.
//
// It panics if a buffer does not have its grid's length or a grid is empty.
func AdaptiveAvgPool[T Float](dst []T, out Grid, src []T, in Grid) {
	checkMap("dst", len(dst), out)
	checkMap("src", len(src), in)
	if in == out {
		copy(dst, src)
		return
	}
	for y := range out.Height {
		top, bottom := window(y, out.Height, in.Height)
		row := dst[y*out.Width : (y+1)*out.Width]
		for x := range row {
			left, right := window(x, out.Width, in.Width)
			var sum float64
			for sy := top; sy < bottom; sy++ {
				for _, v := range src[sy*in.Width+left : sy*in.Width+right] {
					sum += float64(v)
				}
			}
			row[x] = T(sum / float64((bottom-top)*(right-left)))
		}
	}
}

// window is the range of source indexes that output index i of n averages.
func window(i, n, source int) (start, end int) {
	return i * source / n, ((i+1)*source + n - 1) / n
}

// Combine fills dst with the weighted sum of two heatmaps on one grid. The
// published scorer pools both and takes weights of one half. dst may be either
// source. It panics if the lengths differ.
func Combine[T Float](dst, misalignment, artifact []T, misalignmentWeight, artifactWeight float64) {
	checkLength("misalignment", len(misalignment), len(dst))
	checkLength("artifact", len(artifact), len(dst))
	for i := range dst {
		dst[i] = T(misalignmentWeight*float64(misalignment[i]) + artifactWeight*float64(artifact[i]))
	}
}

// checkMap panics unless a buffer of n values holds a map on grid.
func checkMap(name string, n int, grid Grid) {
	if grid.Height < 1 || grid.Width < 1 {
		panic(fmt.Sprintf("dense: %s has an empty grid %s", name, grid))
	}
	if n != grid.Cells() {
		panic(fmt.Sprintf("dense: %s has %d values, its grid %s needs %d", name, n, grid, grid.Cells()))
	}
}

// checkLength panics unless a buffer has the wanted length.
func checkLength(name string, n, want int) {
	if n != want {
		panic(fmt.Sprintf("dense: %s has %d values, dst has %d", name, n, want))
	}
}
