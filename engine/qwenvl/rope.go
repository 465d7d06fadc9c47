package qwenvl

import (
	"math"

	"github.com/denseflow/densereward/engine/onnx"
)

// rope is the cosines and sines (N,size/2) by which queries and keys turn,
// a row for each index of a token in its sequence.
type rope struct{ cos, sin onnx.Value }

// inverseFrequencies is the angle that each pair of a head's values turns by
// from one position to the next.
func (l *language) inverseFrequencies() []float32 {
	half := l.c.HeadDim / 2
	freqs := make([]float32, half)
	for i := range freqs {
		exponent := float64(float32(2*i) / float32(l.c.HeadDim))
		freqs[i] = 1 / float32(math.Pow(l.c.RopeTheta, exponent))
	}
	return freqs
}

// rope is M-RoPE for tokens with the indices 0 to rows-1 (int64 scalar).
// Every prompt begins alike and has its image at imageStart, so that a
// token's index tells its position: text counts on along all three axes; the
// image keeps its time and counts rows and columns; text goes on behind the
// largest of them.
func (l *language) rope(g *onnx.Graph, imageStart int, rows onnx.Value) rope {
	freqs := l.inverseFrequencies()
	half := int64(len(freqs))
	side := l.c.PatchGrid() / l.c.Vision.SpatialMergeSize
	var angles []float32
	add := func(position [3]int) {
		at := 0
		for axis, n := range l.c.MRopeSection {
			for _, f := range freqs[at : at+n] {
				angles = append(angles, float32(position[axis])*f)
			}
			at += n
		}
	}
	for i := range imageStart {
		add([3]int{i, i, i})
	}
	for i := range side * side {
		add([3]int{imageStart, imageStart + i/side, imageStart + i%side})
	}
	known := int64(imageStart + side*side)
	// Text after the image stands at its index less what the image saved.
	saved := int64(side*side - side)
	more := g.Range(g.Sub(rows, onnx.Scalar(g, known)), onnx.Sym("text_rows"))
	position := g.Cast(g.Add(more, onnx.Scalar(g, known-saved)), onnx.Float32)
	text := g.Mul(g.Unsqueeze(position, 1), onnx.Const(g, freqs, 1, half))
	table := g.Concat(0, onnx.Sym("rotary_rows"), onnx.Const(g, angles, known, half), text)
	return rope{cos: g.Cast(g.Cos(table), l.dtype), sin: g.Cast(g.Sin(table), l.dtype)}
}
