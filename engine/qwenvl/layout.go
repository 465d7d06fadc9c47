package qwenvl

import (
	"cmp"
	"slices"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
)

// unit is one merged unit of a batch's images.
type unit struct{ image, row, col int }

// layout is the order in which a batch's merged units go through the vision
// tower. A piece is what attends to itself: a window, or a whole image.
type layout struct {
	grids  []checkpoint.Grid
	window []unit // in window order
	runs   []run  // of windows, in that order
	images []run  // of images, in an order of their own
	whole  []unit // in that order
}

// run is pieces of size units each, from begin to end.
type run struct{ begin, end, size int }

// newLayout lays images out in windows of window units a side; 0 is one window an
// image.
func newLayout(grids []checkpoint.Grid, window int) layout {
	l := layout{grids: grids}
	var parts, images [][]unit
	for i, g := range grids {
		side := window
		if side == 0 {
			side = max(g.Rows, g.Cols)
		}
		parts = append(parts, windows(g, i, side)...)
		images = append(images, block(g, i, 0, 0, max(g.Rows, g.Cols)))
	}
	l.window, l.runs = joined(parts)
	l.whole, l.images = joined(images)
	return l
}

// windows cuts the grid of an image into squares of side units; those at its right
// and lower edges may be smaller.
func windows(g checkpoint.Grid, image, side int) [][]unit {
	var all [][]unit
	for top := 0; top < g.Rows; top += side {
		for left := 0; left < g.Cols; left += side {
			all = append(all, block(g, image, top, left, side))
		}
	}
	return all
}

// block is the units of a square of the grid, as far as it lies within.
func block(g checkpoint.Grid, image, top, left, side int) []unit {
	var units []unit
	for y := top; y < min(top+side, g.Rows); y++ {
		for x := left; x < min(left+side, g.Cols); x++ {
			units = append(units, unit{image, y, x})
		}
	}
	return units
}

// joined puts pieces behind each other, the largest first, so that those of one
// size form a run.
func joined(pieces [][]unit) (order []unit, runs []run) {
	slices.SortStableFunc(pieces, func(a, b []unit) int { return cmp.Compare(len(b), len(a)) })
	for _, p := range pieces {
		if n := len(runs); n == 0 || runs[n-1].size != len(p) {
			runs = append(runs, run{begin: len(order), end: len(order), size: len(p)})
		}
		order = append(order, p...)
		runs[len(runs)-1].end += len(p)
	}
	return order, runs
}

// raster numbers the units of all images behind each other, row by row.
func (l layout) raster() func(unit) int {
	first := make([]int, len(l.grids))
	for i := 1; i < len(first); i++ {
		first[i] = first[i-1] + l.grids[i-1].Units()
	}
	return func(u unit) int { return first[u.image] + u.row*l.grids[u.image].Cols + u.col }
}

// tensors are the layout's inputs of the graph, in patches where a unit has merge x
// merge of them.
func (l layout) tensors(merge int) map[string]ort.Tensor {
	patches, units := merge*merge, len(l.window)
	number := l.raster()
	place := make([]int64, units) // in window order, of each unit in raster order
	for at, u := range l.window {
		place[number(u)] = int64(at)
	}
	positions := make([]int64, 0, 2*units*patches)
	for _, u := range l.window {
		for p := range patches {
			positions = append(positions, int64(u.row*merge+p/merge), int64(u.col*merge+p%merge))
		}
	}
	imageOrder := make([]int64, units*patches)
	windowOrder := make([]int64, units*patches)
	for at, u := range l.whole {
		from := place[number(u)]
		for p := range patches {
			imageOrder[at*patches+p] = from*int64(patches) + int64(p)
			windowOrder[int(from)*patches+p] = int64(at*patches + p)
		}
	}
	n := int64(units * patches)
	return map[string]ort.Tensor{
		InputPatchPositions: ort.Int64s([]int64{n, 2}, positions),
		InputUnitOrder:      ort.Int64s([]int64{int64(units)}, place),
		InputImageOrder:     ort.Int64s([]int64{n}, imageOrder),
		InputWindowOrder:    ort.Int64s([]int64{n}, windowOrder),
		InputWindowRuns:     runTensor(l.runs, patches),
		InputImageRuns:      runTensor(l.images, patches),
	}
}

// corners are, for each patch in window order, the four learned positions around it
// on their square of side x side, and their weights: bilinear interpolation in which
// the corners of image and square meet [transformers,
// get_vision_interpolation_indices_and_weights].
func (l layout) corners(merge, side int) (index, weights ort.Tensor) {
	var at []int64
	var by []float32
	for _, u := range l.window {
		g := l.grids[u.image]
		for p := range merge * merge {
			rows, rowWeights := taps(u.row*merge+p/merge, g.Rows*merge, side)
			cols, colWeights := taps(u.col*merge+p%merge, g.Cols*merge, side)
			for i, row := range rows {
				for j, col := range cols {
					at, by = append(at, int64(row*side+col)), append(by, rowWeights[i]*colWeights[j])
				}
			}
		}
	}
	n := int64(len(l.window) * merge * merge)
	return ort.Int64s([]int64{n, 4}, at), ort.Float32s([]int64{n, 4}, by)
}

// taps are the two places around the i-th of size on a line of side, and their
// weights, in float32 as the reference has them.
func taps(i, size, side int) (places [2]int, weights [2]float32) {
	source := float32(i) * float32(side-1) / float32(max(size-1, 1))
	floor := int(source)
	distance := source - float32(floor)
	return [2]int{min(floor, side-1), min(floor+1, side-1)}, [2]float32{1 - distance, max(0, 1-(1-distance))}
}

func runTensor(runs []run, patches int) ort.Tensor {
	var values []int64
	for _, r := range runs {
		values = append(values, int64(r.begin*patches), int64(r.end*patches), int64(r.size*patches))
	}
	return ort.Int64s([]int64{int64(len(runs)), 3}, values)
}
