package flowgrpo

import (
	"fmt"
	"math"
)

// SmoothMaps convolves advantage maps (N,H,W) in place with a Gaussian, which
// takes the edge off single extreme locations. kernel is its width in locations,
// an even one counting as the next odd one and 0 as no smoothing; its standard
// deviation is a third of the width, and maps are continued beyond their border by
// reflection. It panics on wrong lengths and where half the kernel does not fit
// into the map.
//
// It follows smooth_kernel of [SDG], dense_advantage_processor.py, which smooths
// the advantages of BoxFlow-GRPO once they are normalised. There are no reference
// numbers for it: the tests hold it to the plain two-dimensional convolution.
func SmoothMaps[T Float](maps []T, height, width, kernel int) {
	if height < 1 || width < 1 || len(maps)%(height*width) != 0 {
		panic(fmt.Sprintf("flowgrpo: %d values do not divide into maps of %dx%d", len(maps), height, width))
	}
	half := kernel / 2
	if kernel < 0 || half >= height || half >= width {
		panic(fmt.Sprintf("flowgrpo: a kernel of %d for maps of %dx%d", kernel, height, width))
	}
	if kernel == 0 {
		return
	}
	weights := gaussian(half)
	across := make([]float64, height*width)
	for ; len(maps) > 0; maps = maps[height*width:] {
		for y := range height {
			for x := range width {
				at := func(x int) float64 { return float64(maps[y*width+x]) }
				across[y*width+x] = convolve(weights, x, width, at)
			}
		}
		for y := range height {
			for x := range width {
				at := func(y int) float64 { return across[y*width+x] }
				maps[y*width+x] = T(convolve(weights, y, height, at))
			}
		}
	}
}

// gaussian has 2 half + 1 weights that add up to 1. The two-dimensional kernel is
// the product of two of them.
func gaussian(half int) []float64 {
	weights := make([]float64, 2*half+1)
	sigma := float64(len(weights)) / 3
	var sum float64
	for i := range weights {
		d := float64(i-half) / sigma
		weights[i] = math.Exp(-0.5 * d * d)
		sum += weights[i]
	}
	for i := range weights {
		weights[i] /= sum
	}
	return weights
}

// convolve is the weighted sum around position i of n, reflected at the ends.
func convolve(weights []float64, i, n int, at func(i int) float64) float64 {
	var sum float64
	for k, w := range weights {
		j := i + k - len(weights)/2
		if j < 0 {
			j = -j
		}
		if j >= n {
			j = 2*(n-1) - j
		}
		sum += w * at(j)
	}
	return sum
}
