package onnx

// What the fused operators do behind their product.
var (
	SwiGLU       = (*Graph).swiGLU
	RotateHalves = (*Graph).rotateHalves
	RotatePairs  = (*Graph).rotatePairs
)

// Parts are the numbers and scales of rows in eight bits.
func Parts(r Rows) []Value { return []Value{r.x, r.scales} }

func GatedRows(g *Graph, x, bias Value, out int64) Rows { return g.gatedRows(x, bias, out) }
