package qwenvl

import "github.com/denseflow/densereward/engine/onnx"

// promptTokens is the tokens (B,vocabulary) bool that each row's prompt has.
func (e *generation) promptTokens(vocabulary onnx.Dim) onnx.Value {
	g := e.ONNX
	rows := g.SizeOf(e.in[InputLengths], 0)
	sizes := g.Concat(0, onnx.Dim{}, rows, onnx.Const(g, []int64{int64(e.language.vocabulary())}, 1))
	none := onnx.Full(g, false, sizes, e.Batch, vocabulary)
	at := g.Concat(1, onnx.Dim{}, g.Unsqueeze(e.in[InputRows], 1), g.Unsqueeze(e.in[InputTokens], 1))
	return g.ScatterND(none, at, onnx.Full(g, true, g.ShapeOf(e.in[InputTokens]), e.tokens))
}

// mark adds tokens (B,n) to seen (B,vocabulary).
func (e *generation) mark(g *onnx.Graph, seen, tokens onnx.Value) onnx.Value {
	yes := onnx.Full(g, true, g.ShapeOf(tokens), tokens.Shape()...)
	return g.ScatterElements(seen, tokens, yes, 1)
}
