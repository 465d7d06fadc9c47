package onnx_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/orttest"
)

// Shorthands of the tables in these tests.
const (
	f32  = onnx.Float32
	i64  = onnx.Int64
	i32  = onnx.Int32
	flag = onnx.Bool
)

var (
	batch = onnx.Sym("batch")
	count = onnx.Sym("count")
	none  = onnx.Value{}
)

// sizes are those of the symbols when a graph runs.
type sizes map[string]int64

// usual are sizes that differ from each other and from most numbers in the tables.
var usual = sizes{"batch": 2, "count": 5}

// shape is s as numbers.
func (s sizes) shape(shape onnx.Shape) []int64 {
	out := make([]int64, len(shape))
	for i, d := range shape {
		out[i] = s.size(d)
	}
	return out
}

func (s sizes) size(d onnx.Dim) int64 {
	if n, ok := d.Fixed(); ok {
		return n
	}
	var n int64 = 1
	text := d.String()
	var factor int64
	if _, err := fmt.Sscanf(text, "%d*", &factor); err == nil {
		n = factor
	}
	for name, size := range s {
		n *= power(size, occurrences(text, name))
	}
	return n
}

// occurrences counts name among the factors of text, which "*" joins.
func occurrences(text, name string) int {
	found, word := 0, ""
	for _, r := range text + "*" {
		if r != '*' {
			word += string(r)
			continue
		}
		if word == name {
			found++
		}
		word = ""
	}
	return found
}

func power(n int64, exponent int) int64 {
	p := int64(1)
	for range exponent {
		p *= n
	}
	return p
}

// sketch is a graph whose inputs are remembered, to be filled with numbers.
type sketch struct {
	*onnx.Graph
	inputs []onnx.Value
}

func newSketch() *sketch { return &sketch{Graph: onnx.New("test")} }

// in adds an input called after its place.
func (s *sketch) in(dtype onnx.DType, shape ...onnx.Dim) onnx.Value {
	v := s.Input(fmt.Sprintf("in%d", len(s.inputs)), dtype, shape)
	s.inputs = append(s.inputs, v)
	return v
}

// tensors fills the inputs: floats from [0.5,1.5), where no function of the
// tables has a pole; integers and bools 0 and 1 in turns, an index of everything
// that has two elements.
func (s *sketch) tensors(of sizes) []ort.Tensor {
	rng := rand.New(rand.NewPCG(1, 2))
	out := make([]ort.Tensor, len(s.inputs))
	for i, v := range s.inputs {
		shape := of.shape(v.Shape())
		count := int64(1)
		for _, n := range shape {
			count *= n
		}
		switch v.DType() {
		case onnx.Float32:
			data := make([]float32, count)
			for j := range data {
				data[j] = 0.5 + rng.Float32()
			}
			out[i] = ort.Float32s(shape, data)
		case onnx.Int64:
			data := make([]int64, count)
			for j := range data {
				data[j] = int64(j % 2)
			}
			out[i] = ort.Int64s(shape, data)
		case onnx.Int32:
			data := make([]int32, count)
			for j := range data {
				data[j] = int32(j % 2)
			}
			out[i] = ort.Int32s(shape, data)
		case onnx.Bool:
			data := make([]bool, count)
			for j := range data {
				data[j] = j%2 == 1
			}
			out[i] = ort.Bools(shape, data)
		default:
			panic(fmt.Sprintf("no numbers for an input of type %v", v.DType()))
		}
	}
	return out
}

// run evaluates a graph on the CPU. A graph without inputs is given one that
// nothing reads, since a session must have one.
func run(t testing.TB, g *onnx.Graph, o ort.SessionOptions, inputs ...ort.Tensor) []ort.Tensor {
	t.Helper()
	if len(g.InputNames()) == 0 {
		g.Input("unread", f32, onnx.Dims(1))
		inputs = []ort.Tensor{ort.Float32s([]int64{1}, []float32{0})}
	}
	model, err := g.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	s, err := orttest.Open(t).NewSession(model, g.InputNames(), g.OutputNames(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out, err := s.Run(context.Background(), inputs)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// type of an ort.Tensor as the builder spells it: "float32 (2,3)".
func typeOf(t ort.Tensor) string { return fmt.Sprintf("%s %v", t.DType, onnx.Dims(t.Shape...)) }
