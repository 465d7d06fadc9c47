package onnx_test

import (
	"fmt"

	"github.com/denseflow/densereward/engine/onnx"
)

// A linear layer whose weights lie in a safetensors shard. The model holds the
// place of the weights, not the weights.
func Example() {
	g := onnx.New("linear")
	x := g.Input("x", onnx.Float32, onnx.Shape{onnx.Sym("batch"), onnx.N(4)})
	weight := g.Initializer("weight", onnx.BFloat16, onnx.Dims(8, 4),
		onnx.Location{File: "model.safetensors", Offset: 1024, Length: 64})
	bias := g.Initializer("bias", onnx.BFloat16, onnx.Dims(8),
		onnx.Location{File: "model.safetensors", Offset: 1088, Length: 16})
	y := g.Linear(x, g.Cast(weight, onnx.Float32), g.Cast(bias, onnx.Float32))
	g.Output("y", y)

	model, err := g.Marshal()
	fmt.Println(y.DType(), y.Shape(), len(model) > 0, err)
	// Output: float32 (batch,8) true <nil>
}

// A mistake names the place, the operator and the shapes.
func ExampleGraph_Err() {
	g := onnx.New("broken")
	x := g.Input("x", onnx.Float32, onnx.Shape{onnx.Sym("batch"), onnx.N(4)})
	weight := onnx.Const(g, make([]float32, 40), 8, 5)
	g.Scope("layer", func() { g.Linear(x, weight, onnx.Value{}) })
	fmt.Println(g.Err())
	// Output: onnx: layer: FusedMatMul: (batch,4) (x) by (8,5) (const): inner dimensions 4 and 5 differ
}

// Symbols multiply, so that reshapes of sizes that only the run knows are
// checked as well.
func ExampleGraph_Reshape() {
	g := onnx.New("heads")
	batch, tokens := onnx.Sym("batch"), onnx.Sym("tokens")
	x := g.Input("x", onnx.Float32, onnx.Shape{batch, tokens, onnx.N(96)})
	heads := g.Reshape(x, batch, tokens, onnx.N(6), onnx.N(16))
	packed := g.Reshape(heads, batch.Times(tokens), onnx.N(96))
	fmt.Println(heads.Shape(), packed.Shape(), g.Err())
	// Output: (batch,tokens,6,16) (batch*tokens,96) <nil>
}

// The powers of two, as many as the run asks for.
func ExampleGraph_Loop() {
	g := onnx.New("powers")
	limit := g.Input("limit", onnx.Int64, onnx.Shape{})
	one, yes := onnx.Scalar(g, int64(1)), onnx.Scalar(g, true)
	out := g.Loop(limit, yes, []onnx.Value{one}, nil, onnx.Sym("turns"),
		func(b *onnx.Graph, _ onnx.Value, in []onnx.Value) (again onnx.Value, next, collected []onnx.Value) {
			return yes, []onnx.Value{b.Add(in[0], in[0])}, []onnx.Value{in[0]}
		})
	fmt.Println(out[0].Shape(), out[1].Shape(), g.Err())
	// Output: () (turns) <nil>
}
