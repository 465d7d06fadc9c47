package rft

import (
	"math"

	"github.com/denseflow/densereward/reward"
)

// Side is the height and width at which heatmaps are compared.
const Side = 288

func newTruthMap(name string, m reward.Map) (truthMap, error) {
	if err := checkMap(name, m); err != nil {
		return truthMap{}, err
	}
	t := truthMap{data: resize(m)}
	for _, v := range t.data {
		t.sum += float64(v)
	}
	return t, nil
}

// resize brings m to Side by Side by bilinear interpolation between cell
// centres without antialiasing, which is cv2.resize with INTER_LINEAR. A map of
// that size is returned as it is.
func resize(m reward.Map) []float32 {
	if m.Height == Side && m.Width == Side {
		return m.Data
	}
	out := make([]float32, 0, Side*Side)
	rows, columns := taps(m.Height), taps(m.Width)
	for _, row := range rows {
		above, below := m.Data[row.first*m.Width:], m.Data[row.second*m.Width:]
		for _, column := range columns {
			top := lerp(above[column.first], above[column.second], column.weight)
			bottom := lerp(below[column.first], below[column.second], column.weight)
			out = append(out, lerp(top, bottom, row.weight))
		}
	}
	return out
}

// tap says which two source cells a cell of the result lies between, and how far
// towards the second.
type tap struct {
	first, second int
	weight        float32
}

func taps(size int) [Side]tap {
	var all [Side]tap
	for i := range all {
		at := (float64(i)+0.5)*float64(size)/Side - 0.5
		at = max(0, min(at, float64(size-1)))
		first := int(math.Floor(at))
		all[i] = tap{first: first, second: min(first+1, size-1), weight: float32(at - float64(first))}
	}
	return all
}

func lerp(a, b, weight float32) float32 { return a + (b-a)*weight }
