// Package onnx builds ONNX graphs.
//
// A Graph is written node by node in Go. Every operator checks the shapes and
// element types of its inputs while the graph is being built, and infers those
// of its outputs, so that a mistake names the node that made it instead of
// failing somewhere inside a runtime. The first mistake sticks: operators after
// it return invalid Values, and Graph.Err and Graph.Marshal report it.
//
// Shapes. A Dim is a number, a symbol such as "batch", or a product of both, so
// that reshapes of symbolic shapes are checked as well: the element counts on
// both sides must be the same product.
//
// Weights. Initializer takes the place of a tensor inside a file (name, offset,
// length), usually a safetensors shard; nothing is copied into the model. Const
// and its kind embed small values.
//
// Operators of the standard domain follow opset 21; those of the
// com.microsoft domain are the fused operators that ONNX Runtime documents in
// its ContribOperators.md. Each method names its operator.
package onnx
