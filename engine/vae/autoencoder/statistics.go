package autoencoder

import (
	"github.com/denseflow/densereward/engine/onnx"
)

// statistics are those of the group normalisations in a network that sees one
// tile of an image: K normalisations of G groups. A tile's own mean and
// variance differ from the image's, which shows as seams and a change of
// colour. So the network takes the image's as an input, and gives the tile's,
// over the cells that the tile owns, so that those of all tiles join to the
// image's. For a first look, before those are known, it uses the tile's.
type statistics struct {
	given onnx.Value // (K,2,G) float32: mean and variance
	known onnx.Value // () bool: use what is given
	owned onnx.Value // (4) int64: top, left, bottom, right of the cells owned

	measured []onnx.Value // (1,2,G) each
}

// owns cuts out of x (1,C,H,W), at the scale reached, what the tile owns.
func (s *statistics) owns(g *onnx.Graph, x onnx.Value, scale int64) onnx.Value {
	bounds := g.Mul(s.owned, onnx.Scalar(g, scale))
	for i, hint := range []string{"rows", "columns"} {
		from, to := g.Slice(bounds, 0, int64(i), int64(i+1)), g.Slice(bounds, 0, int64(i+2), int64(i+3))
		x = g.SliceTo(x, 2+i, from, to, g.NewSym(hint))
	}
	return x
}

// normTile is norm with statistics of the whole image.
func (n *network) normTile(x onnx.Value, prefix string, channels, groups int, silu bool) onnx.Value {
	g, s := n.g, n.statistics
	count := onnx.N(int64(groups))
	byGroup := func(v onnx.Value) onnx.Value {
		size := onnx.N(int64(channels / groups)).Times(v.Dim(2)).Times(v.Dim(3))
		return g.Reshape(g.Cast(v, onnx.Float32), v.Dim(0), count, size)
	}
	var normed onnx.Value
	g.Scope(prefix, func() {
		own := byGroup(s.owns(g, x, n.scale))
		mean := g.ReduceMean(own, 2, true)
		centred := g.Sub(own, mean)
		variance := g.ReduceMean(g.Mul(centred, centred), 2, true)
		flat := func(v onnx.Value) onnx.Value { return g.Reshape(v, onnx.N(1), onnx.N(1), count) }
		k := int64(len(s.measured))
		s.measured = append(s.measured, g.Concat(1, onnx.Dim{}, flat(mean), flat(variance)))

		given := g.Slice(s.given, 0, k, k+1)
		column := func(i int64) onnx.Value { return g.Reshape(g.Slice(given, 1, i, i+1), onnx.N(1), count, onnx.N(1)) }
		mean = g.Where(s.known, column(0), mean)
		variance = g.Where(s.known, column(1), variance)
		deviation := g.Sqrt(g.Add(variance, onnx.Scalar(g, float32(normEpsilon))))
		normed = g.Div(g.Sub(byGroup(x), mean), deviation)
		normed = g.Cast(g.ReshapeLike(normed, g.ShapeOf(x), x.Shape()...), n.dtype)
	})
	perChannel := func(name string) onnx.Value {
		return g.Reshape(n.tensor(name, n.dtype, channels), onnx.N(int64(channels)), onnx.N(1), onnx.N(1))
	}
	normed = g.Add(g.Mul(normed, perChannel(prefix+".weight")), perChannel(prefix+".bias"))
	if silu {
		normed = g.Silu(normed)
	}
	return normed
}
