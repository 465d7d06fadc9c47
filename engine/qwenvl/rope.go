package qwenvl

import (
	"math"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
)

// rope is the cosines and sines (N,size/2) by which the queries and keys of N
// tokens turn.
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

// mropeAxes is the axis by whose position each pair of a head's values turns:
// temporal, row or column, in sections, or taking turns until the rows' and columns'
// sections are used up.
func mropeAxes(c checkpoint.Config) []int64 {
	var axes []int64
	for axis, n := range c.MRopeSection {
		for range n {
			axes = append(axes, int64(axis))
		}
	}
	if !c.MRopeInterleaved {
		return axes
	}
	for i := range axes {
		axes[i] = 0
		if axis := i % 3; axis > 0 && i < 3*c.MRopeSection[axis] {
			axes[i] = int64(axis)
		}
	}
	return axes
}

// promptRope is M-RoPE for tokens whose positions (3,T) are temporal, row and
// column.
func (l *language) promptRope(g *onnx.Graph, positions onnx.Value) rope {
	axes := mropeAxes(l.c)
	at := g.Cast(g.Transpose(positions, 1, 0), onnx.Float32)
	return l.turned(g, g.Gather(at, onnx.Const(g, axes, int64(len(axes))), 1))
}

// textRope is RoPE for text tokens, whose positions (T) are the same on all axes.
func (l *language) textRope(g *onnx.Graph, positions onnx.Value) rope {
	return l.turned(g, g.Unsqueeze(g.Cast(positions, onnx.Float32), 1))
}

// turned is the rotation by positions (T,size/2), or (T,1) for all pairs.
func (l *language) turned(g *onnx.Graph, at onnx.Value) rope {
	freqs := l.inverseFrequencies()
	angles := g.Mul(at, onnx.Const(g, freqs, 1, int64(len(freqs))))
	return rope{cos: g.Cast(g.Cos(angles), l.dtype), sin: g.Cast(g.Sin(angles), l.dtype)}
}
