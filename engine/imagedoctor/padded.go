package imagedoctor

import "github.com/denseflow/densereward/engine/onnx"

// paddedCache keeps one tensor of keys and one of values a layer, over rows
// padded on the right to one length, which grow with every step. It runs on
// every provider.
type paddedCache struct {
	e       *evaluatorGraph
	present []onnx.Value // keys and values of each layer in turn, after the prompt
}

var _ cache = (*paddedCache)(nil)

// prompt attends within the prompts, rows of different lengths.
func (p *paddedCache) prompt(g *onnx.Graph, layers func(attention) (sum, branch onnx.Value)) (sum, branch onnx.Value) {
	lengths := g.Cast(p.e.in[inputLengths], onnx.Int32)
	a := &paddedAttention{
		paddedCache: p, g: g,
		pad: p.e.in[inputPad], pack: p.e.in[inputPack],
		last:  g.Sub(lengths, onnx.Scalar(g, int32(1))),
		size:  g.Cast(p.e.in[inputLongest], onnx.Int32),
		total: p.e.longest,
	}
	sum, branch = layers(a)
	p.present = a.present
	return sum, branch
}

func (p *paddedCache) carried(g *onnx.Graph) ([]onnx.Value, []onnx.Shape) {
	shapes := make([]onnx.Shape, len(p.present))
	for i, v := range p.present {
		shape := append(onnx.Shape(nil), v.Shape()...)
		shape[2] = g.NewSym("past")
		shapes[i] = shape
	}
	return p.present, shapes
}

func (p *paddedCache) step(g *onnx.Graph, turn, past onnx.Value, state []onnx.Value, layers func(attention) (sum, branch onnx.Value)) (sum, branch onnx.Value, next []onnx.Value) {
	total := g.Add(g.Add(p.e.in[inputLongest], turn), onnx.Scalar(g, int64(1)))
	a := &paddedAttention{
		paddedCache: p, g: g,
		last:  past,
		size:  g.Cast(total, onnx.Int32),
		total: g.NewSym("present"),
		past:  state,
	}
	sum, branch = layers(a)
	return sum, branch, a.present
}

// paddedAttention is attention by GroupQueryAttention.
type paddedAttention struct {
	*paddedCache
	g *onnx.Graph

	pad, pack  onnx.Value // (B,S) token of each place, (T) place of each token; absent for steps
	last, size onnx.Value // (B) int32 index of each row's last token, the longest row as an int32 scalar
	total      onnx.Dim

	past    []onnx.Value // keys and values of each layer in turn; nil for the prompt
	present []onnx.Value
}

func (a *paddedAttention) attend(i int, qkv onnx.Value) onnx.Value {
	g, e := a.g, a.e
	in := onnx.GroupQuery{
		LastIndex: a.last, Total: a.size, TotalDim: a.total, Cos: e.rotation.cos, Sin: e.rotation.sin,
		Heads: int64(e.c.NumHeads), KVHeads: int64(e.c.NumKVHeads),
	}
	if a.past != nil {
		in.PastKey, in.PastValue = a.past[2*i], a.past[2*i+1]
	}
	if a.pad.Valid() {
		in.QKV = g.Gather(qkv, a.pad, 0)
	} else {
		in.QKV = g.Unsqueeze(qkv, 1)
	}
	out, presentKey, presentValue := g.GroupQueryAttention(in)
	a.present = append(a.present, presentKey, presentValue)
	if !a.pad.Valid() {
		return g.Squeeze(out, 1)
	}
	return g.Gather(g.Reshape(out, out.Dim(0).Times(out.Dim(1)), out.Dim(2)), a.pack, 0)
}
