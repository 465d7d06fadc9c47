package dense

import (
	"fmt"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat/distuv"
)

// SmoothMaps convolves advantage maps (N,H,W) in place with a Gaussian, which
// takes the edge off single extreme locations. kernel is its width in locations,
// an even one counting as the next odd one and 0 as no smoothing; its standard
// deviation is a third of the width, and maps are continued beyond their border by
// reflection. It panics on wrong lengths and where half the kernel does not fit
// into the map.
//
// It follows smooth_kernel of dense_advantage_processor.py of github.com/nianbai006/SDG, which smooths
// the advantages of BoxFlow-GRPO once they are normalised. There are no reference
// numbers for it: the tests hold it to the plain two-dimensional convolution.
func SmoothMaps[T Float](maps []T, height, width, kernel int) {
	if height < 1 || width < 1 || len(maps)%(height*width) != 0 {
		panic(fmt.Sprintf("dense: %d values do not divide into maps of %dx%d", len(maps), height, width))
	}
	half := kernel / 2
	if kernel < 0 || half >= height || half >= width {
		panic(fmt.Sprintf("dense: a kernel of %d for maps of %dx%d", kernel, height, width))
	}
	if kernel == 0 {
		return
	}
	down, across := gaussianBand(half, height), gaussianBand(half, width)
	in, out := mat.NewDense(height, width, nil), mat.NewDense(height, width, nil)
	for ; len(maps) > 0; maps = maps[height*width:] {
		values := in.RawMatrix().Data
		for i := range values {
			values[i] = float64(maps[i])
		}
		out.Product(down, in, across.T())
		for i, v := range out.RawMatrix().Data {
			maps[i] = T(v)
		}
	}
}

// gaussianBand is the n by n matrix that convolves a column of n values with 2 half
// + 1 Gaussian weights that add up to 1, reflected at the ends. The
// two-dimensional kernel is the product of two of them.
func gaussianBand(half, n int) *mat.Dense {
	weights := make([]float64, 2*half+1)
	gauss := distuv.Normal{Sigma: float64(len(weights)) / 3}
	for i := range weights {
		weights[i] = gauss.Prob(float64(i - half))
	}
	floats.Scale(1/floats.Sum(weights), weights)
	band := mat.NewDense(n, n, nil)
	for i := range n {
		for k, w := range weights {
			j := i + k - half
			if j < 0 {
				j = -j
			}
			if j >= n {
				j = 2*(n-1) - j
			}
			band.Set(i, j, band.At(i, j)+w)
		}
	}
	return band
}
