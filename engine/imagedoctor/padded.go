package imagedoctor

import "github.com/denseflow/densereward/engine/onnx"

// paddedAttention is attention by GroupQueryAttention over rows padded on the
// right to one length. Its cache is one tensor of keys and one of values a
// layer, which grow by a token each step; it runs on every provider.
type paddedAttention struct {
	heads, kvHeads int
	width, kvWidth onnx.Dim

	pad, pack  onnx.Value // (B,S) token of each place, (T) place of each token; absent for steps
	last, size onnx.Value // (B) int32 index of each row's last token, the longest row as an int32 scalar
	total      onnx.Dim

	past    []onnx.Value // keys and values of each layer in turn; nil for the prompt
	present []onnx.Value
}

func (p *paddedAttention) attend(g *onnx.Graph, i int, query, key, value onnx.Value) onnx.Value {
	in := onnx.GroupQuery{
		Query: p.rows(g, query), Key: p.rows(g, key), Value: p.rows(g, value),
		LastIndex: p.last, Total: p.size, TotalDim: p.total,
		Heads: int64(p.heads), KVHeads: int64(p.kvHeads),
	}
	if p.past != nil {
		in.PastKey, in.PastValue = p.past[2*i], p.past[2*i+1]
	}
	out, presentKey, presentValue := g.GroupQueryAttention(in)
	p.present = append(p.present, presentKey, presentValue)
	if !p.pad.Valid() {
		return g.Squeeze(out, 1)
	}
	flat := g.Reshape(out, out.Dim(0).Times(out.Dim(1)), out.Dim(2))
	return g.Gather(flat, p.pack, 0)
}

// rows is the packed x (T,width) as (B,S,width).
func (p *paddedAttention) rows(g *onnx.Graph, x onnx.Value) onnx.Value {
	if !p.pad.Valid() {
		return g.Unsqueeze(x, 1)
	}
	return g.Gather(x, p.pad, 0)
}
