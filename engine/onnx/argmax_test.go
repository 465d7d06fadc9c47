package onnx_test

import (
	"testing"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
)

// The largest logit is searched for piece by piece; the first of several stands.
func TestTheArgmaxIsTheFirstOfTheLargest(t *testing.T) {
	for name, test := range map[string]struct{ vocabulary, rows int }{
		"a vocabulary of one piece":    {256, 3},
		"a vocabulary of many pieces":  {1536, 3},
		"the released vocabulary":      {151936, 2},
		"one that no power divides":    {1537, 3},
		"one of pieces that are small": {1536 + 8, 3},
	} {
		t.Run(name, func(t *testing.T) {
			g := onnx.New("argmax")
			in := g.Input("logits", onnx.Float32, onnx.Shape{onnx.Sym("rows"), onnx.N(int64(test.vocabulary))})
			g.Output("index", g.PenalisedArgMax(in, onnx.Value{}, onnx.Value{}, onnx.Value{}))
			v := test.vocabulary
			logits := make([]float32, test.rows*v)
			for i := range logits {
				logits[i] = -float32(i%97) - 1
			}
			// Rows whose largest is last, first, and twice, in two pieces.
			want := []int64{int64(v - 1), 0, int64(v / 3)}
			logits[v-1] = 5
			logits[v] = 5
			if test.rows > 2 {
				logits[2*v+v/3], logits[2*v+v/2] = 5, 5
			}
			out := run(t, g, ort.SessionOptions{}, ort.Float32s([]int64{int64(test.rows), int64(v)}, logits))
			for i, got := range out[0].Int64s() {
				if got != want[i] {
					t.Errorf("row %d: %d, want %d", i, got, want[i])
				}
			}
		})
	}
}
