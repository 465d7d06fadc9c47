package qwenvl

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/denseflow/densereward/engine/image/codec"
	"github.com/denseflow/densereward/engine/initializers"
	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
	"github.com/denseflow/densereward/engine/qwenvl/qwenvltest"
	"github.com/denseflow/densereward/internal/numtest"
	"github.com/denseflow/densereward/reward"
)

func nanoConfig(t *testing.T) checkpoint.Config {
	t.Helper()
	c, err := checkpoint.LoadConfig(qwenvltest.Nano(t))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// runVision runs what part writes with the tower's inputs for images.
func runVision(t *testing.T, c checkpoint.Config, images []*reward.Image, part func(g *onnx.Graph, v *Vision) []onnx.Value) []ort.Tensor {
	t.Helper()
	g := onnx.New("vision")
	v := NewVision(g, initializers.New(g, &initializers.Inventory{}, "test"), c, Options{DType: onnx.Float32})
	for i, out := range part(g, v) {
		g.Output([]string{"first", "second"}[i], out)
	}
	inputs := VisionInputs(c, images, nil)
	var tensors []ort.Tensor
	for _, name := range g.InputNames() {
		tensors = append(tensors, inputs[name])
	}
	out, err := openSession(t, g, ort.SessionOptions{}).Run(t.Context(), tensors)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestVisionHeadsTurnWithRowAndColumn(t *testing.T) {
	const size = 20 // of a head: five frequencies for the row, five for the column
	c := nanoConfig(t)
	images := []*reward.Image{codec.NewImage(504, 504), codec.NewImage(84, 140)}
	order := newLayout([]checkpoint.Grid{c.Grid(images[0]), c.Grid(images[1])}, 4).window
	for name, heads := range map[string]int{"one head": 1, "two heads side by side": 2} {
		t.Run(name, func(t *testing.T) {
			width := heads * size
			out := runVision(t, c, images, func(g *onnx.Graph, v *Vision) []onnx.Value {
				cos, sin := v.rotary(g, size, width)
				return []onnx.Value{cos, sin}
			})
			cos, sin := out[0].Float32s(), out[1].Float32s()
			if len(cos) != 4*len(order)*width/2 || len(sin) != len(cos) {
				t.Fatalf("%d cosines and %d sines", len(cos), len(sin))
			}
			for place := range 4 * len(order) {
				// A unit of 2x2 patches after the other.
				u, within := order[place/4], place%4
				row, col := u.row*2+within/2, u.col*2+within%2
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
					t.Fatalf("patch at place %d, row %d, column %d", place, row, col)
				}
			}
		})
	}
}

func TestPatchesAreCutAsTheProcessorDoes(t *testing.T) {
	c := nanoConfig(t)
	p := patchConfig{PatchSize: 14, TemporalPatchSize: 2, MergeSize: 2}
	for i := range 3 {
		p.Mean[i], p.Std[i] = float32(c.Preprocessor.Mean[i]), float32(c.Preprocessor.Std[i])
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for name, sizes := range map[string][][2]int{
		"the released size":         {{504, 504}},
		"images of different sizes": {{140, 56}, {28, 28}, {112, 224}, {140, 56}},
	} {
		t.Run(name, func(t *testing.T) {
			var images []*reward.Image
			var whole []float32 // the processor's patches, image after image
			var grids []checkpoint.Grid
			for _, size := range sizes {
				image := codec.NewImage(size[0], size[1])
				for i := range image.Pix {
					image.Pix[i] = uint8(rng.Uint32())
				}
				patches := make([]float32, size[0]/14*(size[1]/14)*p.values())
				cutPatches(patches, image, p)
				images, whole, grids = append(images, image), append(whole, patches...), append(grids, c.Grid(image))
			}
			got := runVision(t, c, images, func(g *onnx.Graph, v *Vision) []onnx.Value { return []onnx.Value{v.Normalised(g)} })[0].Float32s()
			l := newLayout(grids, 4)
			number, size := l.raster(), 4*p.values()
			var want []float32
			for _, u := range l.window {
				want = append(want, whole[number(u)*size:(number(u)+1)*size]...)
			}
			// The same float32 operations; cutPatches takes them from a table.
			numtest.Slice(t, "patches", got, want, numtest.Tolerance{})
		})
	}
}
