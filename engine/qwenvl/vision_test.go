package qwenvl

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/internal/numtest"
	"github.com/denseflow/densereward/reward"
)

func TestWindowsHoldEveryPatchOnce(t *testing.T) {
	for name, test := range map[string]struct {
		units, window, patches int
		groups                 []windowGroup
	}{
		"the released grid": {18, 4, 4, []windowGroup{{16, 64}, {8, 32}, {1, 16}}}, // 4x4 whole windows, 2 strips of 4, a corner
		"windows that fit":  {8, 4, 4, []windowGroup{{4, 64}}},
		"one small window":  {3, 4, 4, []windowGroup{{1, 36}}},
		"a grid of one":     {1, 4, 4, []windowGroup{{1, 4}}},
		"no merge":          {5, 2, 1, []windowGroup{{4, 4}, {4, 2}, {1, 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			order, groups := windowOrder(test.units, test.window, test.patches)
			if !slices.Equal(groups, test.groups) {
				t.Errorf("windows %v, want %v", groups, test.groups)
			}
			sorted := slices.Clone(order)
			slices.Sort(sorted)
			if len(order) != test.units*test.units*test.patches {
				t.Fatalf("%d patches of %d", len(order), test.units*test.units*test.patches)
			}
			for i, p := range sorted {
				if p != int64(i) {
					t.Fatalf("patch %d is missing or there twice", i)
				}
			}
			sameWindow(t, order, groups, test.units, test.window, test.patches)
		})
	}
}

// sameWindow checks that the patches of a window are of one square of the grid,
// whole units of them, and that no two windows are of the same.
func sameWindow(t *testing.T, order []int64, groups []windowGroup, units, window, patches int) {
	t.Helper()
	seen := map[[2]int]bool{}
	at := 0
	for _, g := range groups {
		for range g.count {
			members := order[at : at+int(g.size)]
			at += int(g.size)
			where := func(p int64) [2]int {
				unit := int(p) / patches
				return [2]int{unit / units / window, unit % units / window}
			}
			first := where(members[0])
			if seen[first] {
				t.Errorf("two windows at %v", first)
			}
			seen[first] = true
			for i, p := range members {
				if where(p) != first {
					t.Errorf("patch %d of %v lies in the window of %v", p, where(p), first)
				}
				if int(p)%patches != i%patches {
					t.Errorf("unit of patch %d is torn apart", p)
				}
			}
		}
	}
}

// nanoVision is the vision tower of the nano checkpoint without its weights.
func nanoVision(t *testing.T) *Vision {
	t.Helper()
	c, err := LoadConfig(nanoDir)
	if err != nil {
		t.Fatal(err)
	}
	return NewVision(nil, c, 0)
}

func TestVisionHeadsTurnWithRowAndColumn(t *testing.T) {
	v := nanoVision(t)
	const size = 20 // of a head: five frequencies for the row, five for the column
	for name, heads := range map[string]int{"one head": 1, "two heads side by side": 2} {
		t.Run(name, func(t *testing.T) {
			width := heads * size
			cos, sin := v.rotary(size, width)
			if len(cos) != 1296*width/2 || len(sin) != len(cos) {
				t.Fatalf("%d cosines and %d sines", len(cos), len(sin))
			}
			for place, p := range v.order {
				// Merge order: a unit of 2x2 patches after the other, 18 units in a row.
				unit, within := int(p)/4, int(p)%4
				row, col := unit/18*2+within/2, unit%18*2+within%2
				for i := range width / 2 {
					at, f := row, i%(size/2)
					if f >= size/4 {
						at, f = col, f-size/4
					}
					angle := float64(at) * math.Pow(10000, -float64(2*f)/(size/2))
					tolerance := numtest.Tolerance{Abs: 4e-6} // the angle is float32, up to 35
					numtest.Value(t, "cosine", cos[place*width/2+i], math.Cos(angle), tolerance)
					numtest.Value(t, "sine", sin[place*width/2+i], math.Sin(angle), tolerance)
				}
				if t.Failed() {
					t.Fatalf("patch %d at place %d, row %d, column %d", p, place, row, col)
				}
			}
		})
	}
}

func TestTheGraphCutsPatchesAsTheProcessorDoes(t *testing.T) {
	for name, pixelLimit := range map[string]int{"the released size": 12845056, "a smaller one": 20000} {
		t.Run(name, func(t *testing.T) {
			c, err := LoadConfig(nanoDir)
			if err != nil {
				t.Fatal(err)
			}
			c.Preprocessor.MaxPixels = pixelLimit
			side := c.ImageSide()
			image := randomImage(rand.New(rand.NewPCG(1, 1)), side)
			p := patchConfig{PatchSize: 14, TemporalPatchSize: 2, MergeSize: 2}
			for i := range 3 {
				p.Mean[i], p.Std[i] = float32(c.Preprocessor.Mean[i]), float32(c.Preprocessor.Std[i])
			}
			want := make([]float32, c.PatchGrid()*c.PatchGrid()*p.values())
			cutPatches(want, &reward.Image{Width: side, Height: side, Pix: image}, p)
			// The same float32 operations; cutPatches takes them from a table.
			numtest.Slice(t, "patches", patchesOf(t, c, image), want, numtest.Tolerance{})
		})
	}
}

// patchesOf runs the graph's cutting of patches by itself.
func patchesOf(t *testing.T, c Config, image []uint8) []float32 {
	t.Helper()
	g := onnx.New("patches")
	side := int64(c.ImageSide())
	in := g.Input(InputImages, onnx.Uint8, onnx.Shape{onnx.Sym("batch"), onnx.N(side), onnx.N(side), onnx.N(3)})
	g.Output(InputPatches, NewVision(nil, c, onnx.Float32).Patchify(g, in))
	out, err := openSession(t, g, ort.SessionOptions{}).Run(t.Context(), []ort.Tensor{ort.Uint8s([]int64{1, side, side, 3}, image)})
	if err != nil {
		t.Fatal(err)
	}
	return out[0].Float32s()
}
