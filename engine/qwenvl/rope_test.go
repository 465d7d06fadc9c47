package qwenvl

import (
	"math"
	"testing"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/internal/numtest"
)

// ropeTable runs the graph's table of the language model's RoPE.
func ropeTable(t *testing.T, c Config, imageStart, rows int) (cos, sin []float32) {
	t.Helper()
	g := onnx.New("rope")
	count := g.Input("rows", onnx.Int64, onnx.Shape{})
	l := &language{c: c, dtype: onnx.Float32}
	r := l.rope(g, imageStart, count)
	g.Output("cos", r.cos)
	g.Output("sin", r.sin)
	s := openSession(t, g, ort.SessionOptions{})
	out, err := s.Run(t.Context(), []ort.Tensor{ort.Int64s(nil, []int64{int64(rows)})})
	if err != nil {
		t.Fatal(err)
	}
	return out[0].Float32s(), out[1].Float32s()
}

// turned checks that a row of the table turns by a position on three axes.
func turned(t *testing.T, what string, c Config, cos, sin []float32, row int, position [3]int) {
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

// A token's index tells its positions: before the image, in it and behind it.
func TestPositionsAreTheReferences(t *testing.T) {
	c, err := LoadConfig(nanoDir)
	if err != nil {
		t.Fatal(err)
	}
	const units = 18
	for _, want := range readCases(t) {
		first := want.PositionImageFirst[0]
		last := first + units*units - 1
		rows := len(want.InputIDs) + 100
		cos, sin := ropeTable(t, c, first, rows)
		if len(cos) != rows*c.HeadDim/2 {
			t.Fatalf("%d cosines for %d tokens", len(cos), rows)
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
		next := want.PositionTail[0] + 100
		turned(t, want.Name+": hundredth token of the answer", c, cos, sin, rows-1, [3]int{next, next, next})
	}
}
