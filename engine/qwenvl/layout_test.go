package qwenvl

import (
	"slices"
	"testing"

	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
)

func TestWindowsHoldEveryUnitOnce(t *testing.T) {
	square := func(side int) []checkpoint.Grid { return []checkpoint.Grid{{Rows: side, Cols: side}} }
	for name, test := range map[string]struct {
		grids  []checkpoint.Grid
		window int
		want   []run
	}{
		"the released grid":          {square(18), 4, []run{{0, 256, 16}, {256, 320, 8}, {320, 324, 4}}}, // 4x4 whole windows, 2 strips of 4, a corner
		"windows that fit":           {square(8), 4, []run{{0, 64, 16}}},
		"one small window":           {square(3), 4, []run{{0, 9, 9}}},
		"a grid of one":              {square(1), 4, []run{{0, 1, 1}}},
		"a wide image":               {[]checkpoint.Grid{{Rows: 2, Cols: 7}}, 4, []run{{0, 8, 8}, {8, 14, 6}}},
		"images of different shapes": {[]checkpoint.Grid{{Rows: 2, Cols: 7}, {Rows: 5, Cols: 4}, {Rows: 1, Cols: 8}}, 4, []run{{0, 16, 16}, {16, 24, 8}, {24, 30, 6}, {30, 42, 4}}},
		"no windows":                 {[]checkpoint.Grid{{Rows: 2, Cols: 7}, {Rows: 5, Cols: 4}}, 0, []run{{0, 20, 20}, {20, 34, 14}}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLayout(test.grids, test.window)
			if !slices.Equal(l.runs, test.want) {
				t.Errorf("windows %v, want %v", l.runs, test.want)
			}
			everyUnitOnce(t, l.window, test.grids)
			everyUnitOnce(t, l.whole, test.grids)
			side := test.window
			if side == 0 {
				side = 100
			}
			samePiece(t, l.window, l.runs, func(u unit) [3]int { return [3]int{u.image, u.row / side, u.col / side} })
			samePiece(t, l.whole, l.images, func(u unit) [3]int { return [3]int{u.image} })
		})
	}
}

func everyUnitOnce(t *testing.T, order []unit, grids []checkpoint.Grid) {
	t.Helper()
	seen := map[unit]bool{}
	for _, u := range order {
		seen[u] = true
	}
	count := 0
	for i, g := range grids {
		for row := range g.Rows {
			for col := range g.Cols {
				if !seen[unit{i, row, col}] {
					t.Fatalf("unit %d,%d of image %d is missing", row, col, i)
				}
				count++
			}
		}
	}
	if len(order) != count {
		t.Fatalf("%d units of %d", len(order), count)
	}
}

// samePiece checks that the units of a piece are of one place, and that no two
// pieces are of the same.
func samePiece(t *testing.T, order []unit, runs []run, place func(unit) [3]int) {
	t.Helper()
	seen := map[[3]int]bool{}
	at := 0
	for _, r := range runs {
		if r.begin != at {
			t.Errorf("a run begins at %d, not %d", r.begin, at)
		}
		for ; at < r.end; at += r.size {
			first := place(order[at])
			if seen[first] {
				t.Errorf("two pieces at %v", first)
			}
			seen[first] = true
			for _, u := range order[at : at+r.size] {
				if place(u) != first {
					t.Errorf("unit %v lies in the piece of %v", u, first)
				}
			}
		}
	}
}

// Patches stand in the order that the tensors say, in both directions.
func TestOrdersOfPatchesAreInverse(t *testing.T) {
	grids := []checkpoint.Grid{{Rows: 2, Cols: 7}, {Rows: 5, Cols: 4}, {Rows: 2, Cols: 7}, {Rows: 1, Cols: 1}}
	l := newLayout(grids, 4)
	inputs := l.tensors(2)
	images, windows := inputs[InputImageOrder].Int64s(), inputs[InputWindowOrder].Int64s()
	for at, place := range images {
		if windows[place] != int64(at) {
			t.Fatalf("patch %d comes from place %d, which goes to %d", at, place, windows[place])
		}
		u := l.whole[at/4]
		if l.window[place/4] != u || int(place)%4 != at%4 {
			t.Fatalf("patch %d of unit %v comes from unit %v", at, u, l.window[place/4])
		}
	}
	number := l.raster()
	for unit, place := range inputs[InputUnitOrder].Int64s() {
		if number(l.window[place]) != unit {
			t.Fatalf("unit %d comes from the place of %d", unit, number(l.window[place]))
		}
	}
}
