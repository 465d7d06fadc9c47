package onnx_test

import (
	"fmt"
	"testing"

	"github.com/denseflow/densereward/engine/onnx"
)

// stack is a graph of as many linear layers as the language model of the released
// checkpoint has, with its norms and residuals.
func stack() *onnx.Graph {
	const layers, each, width = 36, 7, 2048
	g := onnx.New("stack")
	x := g.Input("x", onnx.BFloat16, onnx.Shape{onnx.Sym("batch"), n(width)})
	for i := range layers * each {
		at := onnx.Location{File: "model-00001-of-00002.safetensors", Offset: int64(i) << 23, Length: 2 * width * width}
		w := g.Initializer(fmt.Sprintf("layers.%d.weight", i), onnx.BFloat16, onnx.Dims(width, width), at)
		scale := g.Zeros(onnx.BFloat16, width)
		g.Scope(fmt.Sprintf("layers.%d", i), func() { x = g.Add(x, g.Linear(g.RMSNorm(x, scale, 1e-6), w, onnx.Value{})) })
	}
	g.Output("y", x)
	return g
}

func BenchmarkBuild(b *testing.B) {
	for b.Loop() {
		if err := stack().Err(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMarshal(b *testing.B) {
	g := stack()
	for b.Loop() {
		model, err := g.Marshal()
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(model)))
	}
}
