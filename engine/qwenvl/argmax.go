package qwenvl

import "github.com/denseflow/densereward/engine/onnx"

// argmax is the index (R) of the largest of logits (R,vocabulary), the first
// one where several are equal. Rows this long are slow to search in one go on a
// GPU, so the largest of each piece is found first.
func argmax(g *onnx.Graph, logits onnx.Value) onnx.Value {
	vocabulary, _ := logits.Dim(1).Fixed()
	piece := vocabulary & -vocabulary // the largest power of two that divides it
	if piece < leastPiece || piece == vocabulary {
		return g.ArgMax(logits, 1)
	}
	piece = min(piece, mostPiece)
	rows := logits.Dim(0)
	pieces := g.Reshape(logits, rows, onnx.N(vocabulary/piece), onnx.N(piece))
	within := g.ArgMax(pieces, 2)
	largest := g.Squeeze(g.GatherElements(pieces, g.Unsqueeze(within, 2), 2), 2)
	which := g.Unsqueeze(g.ArgMax(largest, 1), 1)
	index := g.Add(g.Mul(which, onnx.Scalar(g, piece)), g.GatherElements(within, which, 1))
	return g.Squeeze(index, 1)
}

// Bounds of a piece of the vocabulary in argmax.
const leastPiece, mostPiece = 16, 256
