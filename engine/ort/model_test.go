package ort_test

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/denseflow/densereward/engine/ort"
)

// The models of these tests are a few nodes each, written field by field: the
// numbers are those of onnx.proto.

// elementType is a type's number in onnx.proto.
var elementType = map[ort.DType]uint64{
	ort.Float32: 1, ort.Uint8: 2, ort.Int8: 3, ort.Uint16: 4, ort.Int16: 5, ort.Int32: 6, ort.Int64: 7,
	ort.Bool: 9, ort.Float16: 10, ort.Float64: 11, ort.Uint32: 12, ort.Uint64: 13, ort.BFloat16: 16,
}

func number(field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, field, protowire.VarintType), v)
}

func message(field protowire.Number, parts ...[]byte) []byte {
	var body []byte
	for _, p := range parts {
		body = append(body, p...)
	}
	return protowire.AppendBytes(protowire.AppendTag(nil, field, protowire.BytesType), body)
}

func text(field protowire.Number, s string) []byte { return message(field, []byte(s)) }

// valueInfo declares a tensor; a dimension below 0 is left open.
func valueInfo(field protowire.Number, name string, d ort.DType, dims ...int64) []byte {
	var shape []byte
	for _, n := range dims {
		if n < 0 {
			shape = append(shape, message(1, text(2, "n"))...)
		} else {
			shape = append(shape, message(1, number(1, uint64(n)))...)
		}
	}
	return message(field, text(1, name), message(2, message(1, number(1, elementType[d]), message(2, shape))))
}

func input(name string, d ort.DType, dims ...int64) []byte  { return valueInfo(11, name, d, dims...) }
func output(name string, d ort.DType, dims ...int64) []byte { return valueInfo(12, name, d, dims...) }

// node is an operator; what is in extra are its attributes.
func node(op string, inputs, outputs []string, extra ...[]byte) []byte {
	var parts [][]byte
	for _, name := range inputs {
		parts = append(parts, text(1, name))
	}
	for _, name := range outputs {
		parts = append(parts, text(2, name))
	}
	parts = append(parts, text(4, op))
	return message(1, append(parts, extra...)...)
}

// subgraph is the attribute that holds a graph.
func subgraph(name string, parts ...[]byte) []byte {
	return message(5, text(1, name), message(6, append(parts, text(2, name))...), number(20, 5))
}

// external declares an initializer whose bytes lie in a file.
func external(name string, d ort.DType, file string, dims ...uint64) []byte {
	var parts [][]byte
	for _, n := range dims {
		parts = append(parts, number(1, n))
	}
	parts = append(parts, number(2, elementType[d]), text(8, name),
		message(13, text(1, "location"), text(2, file)), number(14, 1))
	return message(5, parts...)
}

// raw declares an initializer with its bytes.
func raw(name string, t ort.Tensor) []byte {
	var parts [][]byte
	for _, n := range t.Shape {
		parts = append(parts, number(1, uint64(n)))
	}
	return message(5, append(parts, number(2, elementType[t.DType]), text(8, name), message(9, t.Data))...)
}

func model(graph ...[]byte) []byte {
	m := number(1, 9)
	m = append(m, message(8, text(1, ""), number(2, 19))...)
	return append(m, message(7, append(graph, text(2, "test"))...)...)
}

// identity copies x, of one dimension of any length, to y.
func identity(d ort.DType) []byte {
	return model(node("Identity", []string{"x"}, []string{"y"}), input("x", d, -1), output("y", d, -1))
}

// addition is y = x + x over (2, n).
func addition() []byte {
	return model(node("Add", []string{"x", "x"}, []string{"y"}), input("x", ort.Float32, 2, -1), output("y", ort.Float32, 2, -1))
}

// counter adds 1 to x as often as the scalar n says, one loop round at a time.
func counter() []byte {
	body := subgraph("body",
		node("Identity", []string{"more"}, []string{"still"}),
		node("Add", []string{"before", "one"}, []string{"after"}),
		input("round", ort.Int64), input("more", ort.Bool), input("before", ort.Float32, 1),
		output("still", ort.Bool), output("after", ort.Float32, 1))
	return model(
		node("Loop", []string{"n", "", "x"}, []string{"y"}, body),
		raw("one", ort.Float32s([]int64{1}, []float32{1})),
		input("n", ort.Int64), input("x", ort.Float32, 1), output("y", ort.Float32, 1))
}
