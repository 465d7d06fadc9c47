package onnx_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
)

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}

func TestNamesOfInputsAndOutputsAreTakenOnce(t *testing.T) {
	for name, test := range map[string]struct {
		build func(g *onnx.Graph)
		want  []string
	}{
		"an input twice": {func(g *onnx.Graph) {
			g.Input("x", f32, onnx.Dims(1))
			g.Input("x", f32, onnx.Dims(1))
		}, []string{`input "x"`, "taken"}},
		"an output twice": {func(g *onnx.Graph) {
			x := g.Input("x", f32, onnx.Dims(1))
			g.Output("y", x)
			g.Output("y", x)
		}, []string{`output "y"`, "taken"}},
		"an output called as an input": {func(g *onnx.Graph) { g.Output("x", g.Input("x", f32, onnx.Dims(1))) }, []string{`output "x"`, "taken"}},
		"an output of nothing":         {func(g *onnx.Graph) { g.Output("y", none) }, []string{`output "y"`, "invalid"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := onnx.New("test")
			test.build(g)
			wantError(t, g.Err(), append(test.want, "onnx: test: ")...)
		})
	}
}

func TestNodesMayShareTheirNames(t *testing.T) {
	g := onnx.New("test")
	x := g.Input("x", f32, onnx.Dims(1))
	var names []string
	g.Scope("layer", func() {
		for range 3 {
			x = g.Relu(x)
			names = append(names, x.Name())
		}
	})
	x = g.Relu(x)
	g.Output("y", g.Relu(x))
	if err := g.Err(); err != nil {
		t.Fatal(err)
	}
	names = append(names, x.Name())
	if slices.Sort(names); len(slices.Compact(names)) != 4 {
		t.Errorf("values of four nodes are called %v", names)
	}
	if !strings.HasPrefix(names[1], "layer/Relu") || strings.HasPrefix(names[0], "layer") {
		t.Errorf("names %v do not tell the scope", names)
	}
	if got := run(t, g, ort.SessionOptions{Threads: 1}, ort.Float32s([]int64{1}, []float32{2}))[0].Float32s()[0]; got != 2 {
		t.Errorf("five times Relu of 2 is %v", got)
	}
}

func TestAGraphListsItsInputsAndOutputs(t *testing.T) {
	g := onnx.New("test")
	b, a := g.Input("b", f32, onnx.Dims(1)), g.Input("a", f32, onnx.Dims(1))
	g.Output("z", a)
	g.Output("y", b)
	if got := g.InputNames(); !slices.Equal(got, []string{"b", "a"}) {
		t.Errorf("inputs %v", got)
	}
	if got := g.OutputNames(); !slices.Equal(got, []string{"z", "y"}) {
		t.Errorf("outputs %v", got)
	}
}

func TestWhatCannotBeMarshalled(t *testing.T) {
	empty := onnx.New("empty")
	empty.Input("x", f32, onnx.Dims(1))
	_, err := empty.Marshal()
	wantError(t, err, "empty", "no outputs")

	unknown := onnx.New("unknown")
	x := unknown.Input("x", f32, onnx.Dims(1))
	unknown.Op("", "Relu", []onnx.Value{x}, []onnx.Attr{{Name: "slope", Value: 1.5}})
	unknown.Output("y", x)
	_, err = unknown.Marshal()
	wantError(t, err, "Relu", "slope", "float64")

	outer := onnx.New("outer")
	outer.Loop(onnx.Scalar(outer, int64(1)), onnx.Scalar(outer, true), nil, nil, onnx.Dim{},
		func(b *onnx.Graph, _ onnx.Value, _ []onnx.Value) (again onnx.Value, next, collected []onnx.Value) {
			_, err := b.Marshal()
			wantError(t, err, "subgraph")
			return onnx.Scalar(b, false), nil, nil
		})
}

func TestEqualGraphsMarshalToEqualBytes(t *testing.T) {
	build := func() []byte {
		s := newSketch()
		for i, op := range products() {
			for j, v := range op.build(s) {
				s.Output(fmt.Sprintf("y%d.%d", i, j), s.Silu(v))
			}
		}
		model, err := s.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return model
	}
	if !bytes.Equal(build(), build()) {
		t.Error("two equal graphs differ")
	}
}

func TestEqualConstantsAreStoredOnce(t *testing.T) {
	g := onnx.New("test")
	a, b := onnx.Const(g, []int64{1, 2}, 2), onnx.Const(g, []int64{1, 2}, 2)
	if a.Name() != b.Name() {
		t.Errorf("two constants, %s and %s", a.Name(), b.Name())
	}
	for _, other := range []onnx.Value{
		onnx.Const(g, []int64{1, 2}, 1, 2), onnx.Const(g, []int64{1, 3}, 2), onnx.Const(g, []int32{1, 0, 2, 0}, 4),
		g.Zeros(f32, 2), g.Zeros(i32, 2),
	} {
		if other.Name() == a.Name() {
			t.Errorf("%v %v is taken for %v %v", other.DType(), other.Shape(), a.DType(), a.Shape())
		}
	}
	if err := g.Err(); err != nil {
		t.Error(err)
	}
}

func TestNewSymbolsAreNew(t *testing.T) {
	g := onnx.New("test")
	if a, b := g.NewSym("past"), g.NewSym("past"); a == b {
		t.Errorf("both are %v", a)
	}
}

func TestValuesStayInTheirGraph(t *testing.T) {
	g, other := onnx.New("test"), onnx.New("other")
	g.Relu(other.Input("x", f32, onnx.Dims(1)))
	wantError(t, g.Err(), "Relu", "(x)", "belongs to another graph")
}
