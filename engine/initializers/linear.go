package initializers

import "github.com/denseflow/densereward/engine/onnx"

// Linear is x times the weight prefix.weight (out,in), plus prefix.bias, in the
// type of x.
func (s *Set) Linear(g *onnx.Graph, x onnx.Value, prefix string, out, in int) onnx.Value {
	weight := s.Tensor(prefix+".weight", x.DType(), int64(out), int64(in))
	bias := s.Tensor(prefix+".bias", x.DType(), int64(out))
	return g.Linear(x, weight, bias)
}

// LinearNoBias is x times the weight prefix.weight (out,in).
func (s *Set) LinearNoBias(g *onnx.Graph, x onnx.Value, prefix string, out, in int) onnx.Value {
	return g.Linear(x, s.Tensor(prefix+".weight", x.DType(), int64(out), int64(in)), onnx.Value{})
}

// A Layer is one of several linear layers that are joined: Name.weight (Out,in)
// and Name.bias (Out).
type Layer struct {
	Name string
	Out  int
}

// Joined stacks the weights and, unless they have none, the biases of layers with
// one input, once, when a session loads the graph.
func (s *Set) Joined(dtype onnx.DType, in int, withBias bool, layers ...Layer) (weight, bias onnx.Value) {
	stacked := func(suffix string, dims func(l Layer) []int64) onnx.Value {
		return s.Once(layers[0].Name+suffix+" and others", func(top *onnx.Graph) onnx.Value {
			values := make([]onnx.Value, len(layers))
			for i, l := range layers {
				values[i] = s.Tensor(l.Name+suffix, dtype, dims(l)...)
			}
			return top.Concat(0, onnx.Dim{}, values...)
		})
	}
	weight = stacked(".weight", func(l Layer) []int64 { return []int64{int64(l.Out), int64(in)} })
	if withBias {
		bias = stacked(".bias", func(l Layer) []int64 { return []int64{int64(l.Out)} })
	}
	return weight, bias
}
