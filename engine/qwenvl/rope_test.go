package qwenvl

import (
	"math"
	"slices"
	"testing"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
	"github.com/denseflow/densereward/engine/qwenvl/qwenvltest"
	"github.com/denseflow/densereward/internal/numtest"
	"github.com/denseflow/densereward/reward"
)

// ropeTable runs the graph's rotation of tokens by their positions (3,T).
func ropeTable(t *testing.T, c checkpoint.Config, positions [3][]int64) (cos, sin []float32) {
	t.Helper()
	g := onnx.New("rope")
	in := g.Input("positions", onnx.Int64, onnx.Shape{onnx.N(3), onnx.Sym("tokens")})
	r := (&language{c: c, dtype: onnx.Float32}).promptRope(g, in)
	g.Output("cos", r.cos)
	g.Output("sin", r.sin)
	s := openSession(t, g, ort.SessionOptions{})
	n := int64(len(positions[0]))
	out, err := s.Run(t.Context(), []ort.Tensor{ort.Int64s([]int64{3, n}, slices.Concat(positions[0], positions[1], positions[2]))})
	if err != nil {
		t.Fatal(err)
	}
	return out[0].Float32s(), out[1].Float32s()
}

// turned checks that a row of the table turns by a position on three axes.
func turned(t *testing.T, what string, c checkpoint.Config, cos, sin []float32, row int, position [3]int) {
	t.Helper()
	half := c.HeadDim / 2
	at := 0
	for axis, width := range c.MRopeSection {
		for range width {
			angle := float64(position[axis]) * math.Pow(c.RopeTheta, -float64(2*at)/float64(c.HeadDim))
			// The reference's angles are float32, of up to 400 radians.
			tolerance := numtest.Tolerance{Abs: 4e-5}
			numtest.Value(t, what, cos[row*half+at], math.Cos(angle), tolerance)
			numtest.Value(t, what, sin[row*half+at], math.Sin(angle), tolerance)
			at++
		}
	}
}

func TestPositionsAreTheReferences(t *testing.T) {
	c := nanoConfig(t)
	const units = 18
	for _, want := range qwenvltest.ReadNanoCases(t, "cases.json") {
		first := want.PositionImageFirst[0]
		last := first + units*units - 1
		p, err := LayOut(c, want.InputIDs, &reward.Image{Width: 504, Height: 504})
		if err != nil {
			t.Fatal(err)
		}
		axes, delta := positions(c, p)
		cos, sin := ropeTable(t, c, axes)
		if len(cos) != len(want.InputIDs)*c.HeadDim/2 {
			t.Fatalf("%d cosines for %d tokens", len(cos), len(want.InputIDs))
		}
		if want.InputIDs[first] != c.ImageTokenID || want.InputIDs[last] != c.ImageTokenID || want.InputIDs[last+1] == c.ImageTokenID {
			t.Fatalf("%s: the image does not stand at %d to %d", want.Name, first, last)
		}
		turned(t, want.Name+": first token", c, cos, sin, 0, [3]int{})
		turned(t, want.Name+": before the image", c, cos, sin, first-1, [3]int{first - 1, first - 1, first - 1})
		turned(t, want.Name+": begin of the image", c, cos, sin, first, want.PositionImageFirst)
		turned(t, want.Name+": row 5 and column 7", c, cos, sin, first+5*units+7, [3]int{first, first + 5, first + 7})
		turned(t, want.Name+": end of the image", c, cos, sin, last, want.PositionImageLast)
		turned(t, want.Name+": behind the image", c, cos, sin, last+1, [3]int{first + units, first + units, first + units})
		turned(t, want.Name+": last token", c, cos, sin, len(want.InputIDs)-1, want.PositionTail)
		if next := int64(len(want.InputIDs)) + delta; next != int64(want.PositionTail[0]+1) {
			t.Errorf("%s: the answer begins at %d, behind %d", want.Name, next, want.PositionTail[0])
		}
	}
}

// Two images, and text of one token between them.
func TestPositionsOfSeveralImages(t *testing.T) {
	c := smallConfig()
	wide, tall := &reward.Image{Width: 84, Height: 28}, &reward.Image{Width: 28, Height: 56}
	p, err := LayOut(c, []int32{1, 7, 7, 7, 2, 7, 7, 3, 4}, wide, tall)
	if err != nil {
		t.Fatal(err)
	}
	got, delta := positions(c, p)
	want := [3][]int64{{0, 1, 1, 1, 4, 5, 5, 7, 8}, {0, 1, 1, 1, 4, 5, 6, 7, 8}, {0, 1, 2, 3, 4, 5, 5, 7, 8}}
	for axis := range want {
		if !slices.Equal(got[axis], want[axis]) {
			t.Errorf("axis %d: %v, want %v", axis, got[axis], want[axis])
		}
	}
	if delta != 0 {
		t.Errorf("delta %d", delta)
	}
}
