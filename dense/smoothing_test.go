package dense

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/denseflow/densereward/internal/numtest"
)

// naiveSmooth is the two-dimensional convolution as torch would do it: pad by
// reflection, multiply by the normalised product kernel, add up.
func naiveSmooth(m []float64, height, width, kernel int) []float64 {
	if kernel%2 == 0 {
		kernel++
	}
	half, sigma := kernel/2, float64(kernel)/3
	reflect := func(i, n int) int {
		if i < 0 {
			return -i
		}
		if i > n-1 {
			return 2*(n-1) - i
		}
		return i
	}
	out := make([]float64, len(m))
	for y := range height {
		for x := range width {
			var sum, total float64
			for dy := -half; dy <= half; dy++ {
				for dx := -half; dx <= half; dx++ {
					w := math.Exp(-0.5*float64(dy*dy)/(sigma*sigma)) * math.Exp(-0.5*float64(dx*dx)/(sigma*sigma))
					sum += w * m[reflect(y+dy, height)*width+reflect(x+dx, width)]
					total += w
				}
			}
			out[y*width+x] = sum / total
		}
	}
	return out
}

func TestSmoothMapsEqualsTheConvolution(t *testing.T) {
	rng := rand.New(rand.NewPCG(31, 1))
	for _, kernel := range []int{1, 2, 3, 4, 5, 7} {
		maps := make([]float64, 3*6*9)
		for i := range maps {
			maps[i] = rng.NormFloat64()
		}
		var want []float64
		for i := range 3 {
			want = append(want, naiveSmooth(maps[i*54:(i+1)*54], 6, 9, kernel)...)
		}
		maps32 := toFloat32(maps)
		SmoothMaps(maps, 6, 9, kernel)
		numtest.Slice(t, "float64", maps, want, numtest.Tolerance{Abs: 1e-12, Rel: 1e-9})
		SmoothMaps(maps32, 6, 9, kernel)
		numtest.Slice(t, "float32", maps32, want, numtest.Tolerance{Abs: 2e-7, Rel: 2e-7})
	}
}

func TestSmoothMapsLeavesConstantsAndKernelsOfOne(t *testing.T) {
	constant := []float64{2, 2, 2, 2, 2, 2}
	SmoothMaps(constant, 2, 3, 3)
	numtest.Slice(t, "constant", constant, []float64{2, 2, 2, 2, 2, 2}, numtest.Tolerance{Rel: 1e-15})
	for _, kernel := range []int{0, 1} {
		m := []float64{1, 5, -3, 2, 0, 7}
		SmoothMaps(m, 2, 3, kernel)
		numtest.Slice(t, "map", m, []float64{1, 5, -3, 2, 0, 7}, numtest.Tolerance{})
	}
}

func TestSmoothMapsPanicsForMapsAndKernelsThatDoNotFit(t *testing.T) {
	four := make([]float64, 4)
	for want, call := range map[string]func(){
		"dense: 4 values do not divide into maps of 3x1": func() { SmoothMaps(four, 3, 1, 1) },
		"dense: a kernel of 4 for maps of 2x2":           func() { SmoothMaps(four, 2, 2, 4) },
		"dense: a kernel of -1 for maps of 2x2":          func() { SmoothMaps(four, 2, 2, -1) },
	} {
		t.Run(want, func(t *testing.T) {
			defer func() {
				if got := recover(); got != want {
					t.Errorf("panic %v, want %q", got, want)
				}
			}()
			call()
		})
	}
}
