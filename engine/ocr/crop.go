package ocr

import (
	"math"

	"github.com/denseflow/densereward/reward"
)

// crop straightens what lies within a rectangle: OpenCV's warpPerspective with
// INTER_CUBIC and BORDER_REPLICATE. Text that stands upright is turned by 90 degrees
// against the clock. It is nil where the rectangle has no area.
func crop(src *reward.Image, q quad) *reward.Image {
	width := int(max(q[0].minus(q[1]).length(), q[2].minus(q[3]).length()))
	height := int(max(q[0].minus(q[3]).length(), q[1].minus(q[2]).length()))
	if width < 1 || height < 1 {
		return nil
	}
	w, h := float64(width), float64(height)
	m, ok := perspective(quad{{0, 0}, {w, 0}, {w, h}, {0, h}}, q)
	if !ok {
		return nil
	}
	dst := warp(src, m, width, height)
	if float64(height)/float64(width) >= 1.5 {
		return turned(dst)
	}
	return dst
}

// perspective is the projective map, row major, that takes the corners of from to
// those of to.
func perspective(from, to quad) (m [9]float64, ok bool) {
	var a [8][9]float64 // the equations, with their right side last
	for i := range 4 {
		x, y, u, v := from[i].x, from[i].y, to[i].x, to[i].y
		a[2*i] = [9]float64{x, y, 1, 0, 0, 0, -x * u, -y * u, u}
		a[2*i+1] = [9]float64{0, 0, 0, x, y, 1, -x * v, -y * v, v}
	}
	for i := range a {
		pivot := i
		for r := i + 1; r < 8; r++ {
			if math.Abs(a[r][i]) > math.Abs(a[pivot][i]) {
				pivot = r
			}
		}
		if math.Abs(a[pivot][i]) < 1e-12 {
			return m, false
		}
		a[i], a[pivot] = a[pivot], a[i]
		for r := range a {
			if r == i {
				continue
			}
			f := a[r][i] / a[i][i]
			for c := i; c < 9; c++ {
				a[r][c] -= f * a[i][c]
			}
		}
	}
	for i := range a {
		m[i] = a[i][8] / a[i][i]
	}
	m[8] = 1
	return m, true
}

// Places between pixels are told apart to 1/32 of a pixel, weights have 15 bits.
const (
	warpSteps = 32
	warpOne   = 1 << 15
)

// warp fills an image of width and height with what m finds in src.
func warp(src *reward.Image, m [9]float64, width, height int) *reward.Image {
	dst := &reward.Image{Width: width, Height: height, Pix: make([]uint8, width*height*3)}
	for y := range height {
		for x := range width {
			fx, fy := float64(x), float64(y)
			w := m[6]*fx + m[7]*fy + m[8]
			if w != 0 {
				w = warpSteps / w
			}
			u := clampInt(math.RoundToEven((m[0]*fx + m[1]*fy + m[2]) * w))
			v := clampInt(math.RoundToEven((m[3]*fx + m[4]*fy + m[5]) * w))
			sample(dst.Pix[(y*width+x)*3:], src, u>>5, v>>5, &cubicWeights[v&(warpSteps-1)][u&(warpSteps-1)])
		}
	}
	return dst
}

func clampInt(v float64) int { return int(max(math.MinInt32, min(math.MaxInt32, v))) }

// sample weighs the 16 pixels around (x,y), those beyond an edge as on it.
func sample(dst []uint8, src *reward.Image, x, y int, weights *[16]int32) {
	var sum [3]int32
	for j := range 4 {
		row := min(max(y-1+j, 0), src.Height-1) * src.Width
		for i := range 4 {
			at := (row + min(max(x-1+i, 0), src.Width-1)) * 3
			w := weights[j*4+i]
			for c := range 3 {
				sum[c] += w * int32(src.Pix[at+c])
			}
		}
	}
	for c := range 3 {
		dst[c] = uint8(min(max((sum[c]+warpOne/2)>>15, 0), 255))
	}
}

// cubicWeights[v][u] are the weights of a place u/32 right and v/32 below a pixel.
// It is never written to.
var cubicWeights = cubicTable()

func cubicTable() (table [warpSteps][warpSteps][16]int32) {
	var one [warpSteps][4]float32
	for i := range one {
		one[i] = cubic(float32(i) / warpSteps)
	}
	for v := range table {
		for u := range table[v] {
			w := &table[v][u]
			sum := int32(0)
			for k := range w {
				w[k] = int32(math.RoundToEven(float64(one[v][k/4] * one[u][k%4] * warpOne)))
				sum += w[k]
			}
			// What rounding leaves goes to the largest of the middle four where
			// it is too little, to the least where it is too much.
			least, most := 2*4+2, 2*4+2
			for _, k := range [4]int{10, 11, 14, 15} {
				if w[k] < w[least] {
					least = k
				} else if w[k] > w[most] {
					most = k
				}
			}
			if diff := sum - warpOne; diff < 0 {
				w[most] -= diff
			} else {
				w[least] -= diff
			}
		}
	}
	return table
}

// cubic are the weights of four neighbours for a place x behind the second, with a
// = -0.75.
func cubic(x float32) [4]float32 {
	const a = -0.75
	w0 := ((a*(x+1)-5*a)*(x+1)+8*a)*(x+1) - 4*a
	w1 := ((a+2)*x-(a+3))*x*x + 1
	w2 := ((a+2)*(1-x)-(a+3))*(1-x)*(1-x) + 1
	return [4]float32{w0, w1, w2, 1 - w0 - w1 - w2}
}

// turned is src turned by 90 degrees against the clock.
func turned(src *reward.Image) *reward.Image {
	dst := &reward.Image{Width: src.Height, Height: src.Width, Pix: make([]uint8, len(src.Pix))}
	for y := range dst.Height {
		for x := range dst.Width {
			from := (x*src.Width + src.Width - 1 - y) * 3
			copy(dst.Pix[(y*dst.Width+x)*3:][:3], src.Pix[from:])
		}
	}
	return dst
}
