package imagedoctor

import (
	"github.com/denseflow/densereward/engine/initializers"
	"github.com/denseflow/densereward/engine/onnx"
)

// weights hands out the checkpoint's tensors as values of the graph.
type weights struct{ *initializers.Set }

func newWeights(g *onnx.Graph, source initializers.Source) *weights {
	return &weights{initializers.New(g, source, "imagedoctor")}
}

// linear is x times the weight prefix.weight (out,in), plus prefix.bias.
func (w *weights) linear(g *onnx.Graph, x onnx.Value, prefix string, out, in int) onnx.Value {
	weight := w.Tensor(prefix+".weight", x.DType(), int64(out), int64(in))
	bias := w.Tensor(prefix+".bias", x.DType(), int64(out))
	return g.Linear(x, weight, bias)
}

// linearNoBias is x times the weight prefix.weight (out,in).
func (w *weights) linearNoBias(g *onnx.Graph, x onnx.Value, prefix string, out, in int) onnx.Value {
	return g.Linear(x, w.Tensor(prefix+".weight", x.DType(), int64(out), int64(in)), onnx.Value{})
}

// part is one of several linear layers that are joined: name.weight (out,in) and
// name.bias (out).
type part struct {
	name string
	out  int
}

// joined stacks the weights and biases of layers with one input.
func (w *weights) joined(dtype onnx.DType, in int, parts []part) (weight, bias onnx.Value) {
	stacked := func(suffix string, dims func(p part) []int64) onnx.Value {
		return w.Once(parts[0].name+suffix+" and others", func(top *onnx.Graph) onnx.Value {
			values := make([]onnx.Value, len(parts))
			for i, p := range parts {
				values[i] = w.Tensor(p.name+suffix, dtype, dims(p)...)
			}
			return top.Concat(0, onnx.Dim{}, values...)
		})
	}
	weight = stacked(".weight", func(p part) []int64 { return []int64{int64(p.out), int64(in)} })
	bias = stacked(".bias", func(p part) []int64 { return []int64{int64(p.out)} })
	return weight, bias
}
