package onnx

// What the fused operators do behind their product.
var (
	SwiGLU       = (*Graph).swiGLU
	RotateHalves = (*Graph).rotateHalves
	RotatePairs  = (*Graph).rotatePairs
)
