package imagedoctor

import (
	"fmt"
	"math"

	"github.com/denseflow/densereward/engine/onnx"
)

// transformer is SAM's TwoWayTransformer: tokens (N,2,width) attend to
// themselves and to the image, and the image attends back.
type transformer struct {
	*heatmap
	tokenPositions onnx.Value // the tokens as they came in
	imagePositions onnx.Value // (1,cells,width)
}

func (t transformer) run(g *onnx.Graph, tokens, keys onnx.Value) (onnx.Value, onnx.Value) {
	for i := range heatmapDepth {
		g.Scope(fmt.Sprintf("transformer.%d", i), func() { tokens, keys = t.layer(g, i, tokens, keys) })
	}
	const prefix = "heatmap.transformer."
	out := t.attend(g, prefix+"final_attn_token_to_image", attentionDownscale,
		g.Add(tokens, t.tokenPositions), g.Add(keys, t.imagePositions), keys)
	return t.norm(g, g.Add(tokens, out), prefix+"norm_final_attn"), keys
}

func (t transformer) layer(g *onnx.Graph, i int, tokens, keys onnx.Value) (onnx.Value, onnx.Value) {
	prefix := fmt.Sprintf("heatmap.transformer.layers.%d.", i)
	if i == 0 { // the first layer adds neither positions nor a residual
		tokens = t.attend(g, prefix+"self_attn", 1, tokens, tokens, tokens)
	} else {
		query := g.Add(tokens, t.tokenPositions)
		tokens = g.Add(tokens, t.attend(g, prefix+"self_attn", 1, query, query, tokens))
	}
	tokens = t.norm(g, tokens, prefix+"norm1")

	toImage := t.attend(g, prefix+"cross_attn_token_to_image", attentionDownscale,
		g.Add(tokens, t.tokenPositions), g.Add(keys, t.imagePositions), keys)
	tokens = t.norm(g, g.Add(tokens, toImage), prefix+"norm2")

	hidden := t.mlpWidth()
	mlp := t.w.Linear(g, g.Relu(t.w.Linear(g, tokens, prefix+"mlp.lin1", hidden, t.width)), prefix+"mlp.lin2", t.width, hidden)
	tokens = t.norm(g, g.Add(tokens, mlp), prefix+"norm3")

	toTokens := t.attend(g, prefix+"cross_attn_image_to_token", attentionDownscale,
		g.Add(keys, t.imagePositions), g.Add(tokens, t.tokenPositions), tokens)
	return tokens, t.norm(g, g.Add(keys, toTokens), prefix+"norm4")
}

// mlpWidth is the inner width of the tokens' MLP, as the first tensor has it.
func (t transformer) mlpWidth() int {
	if w, ok := t.w.Lookup(firstMLPName); ok && len(w.Shape) == 2 {
		return int(w.Shape[0])
	}
	return t.width
}

func (t transformer) norm(g *onnx.Graph, x onnx.Value, prefix string) onnx.Value {
	weight := t.w.Tensor(prefix+".weight", t.dtype, int64(t.width))
	return g.LayerNorm(x, weight, t.w.Tensor(prefix+".bias", t.dtype, int64(t.width)), heatmapNormEps)
}

// attend is attention whose inner width is the outer one divided by downscale.
// The products are written out: heads this narrow fit no fused kernel.
func (t transformer) attend(g *onnx.Graph, prefix string, downscale int, query, key, value onnx.Value) onnx.Value {
	inner := t.width / downscale
	size := inner / heatmapHeads
	split := func(x onnx.Value, name string) onnx.Value {
		y := t.w.Linear(g, x, prefix+"."+name, inner, t.width)
		y = g.Reshape(y, y.Dim(0), y.Dim(1), onnx.N(heatmapHeads), onnx.N(int64(size)))
		return g.Transpose(y, 0, 2, 1, 3)
	}
	q, k, v := split(query, "q_proj"), split(key, "k_proj"), split(value, "v_proj")
	// Trained heads have queries and keys above 1,000, whose products float16 does
	// not hold. There are two tokens an image: float32 costs nothing here.
	q, k = g.Cast(q, onnx.Float32), g.Cast(k, onnx.Float32)
	scores := g.Softmax(g.MatMulT(q, k, float32(1/math.Sqrt(float64(size)))), -1)
	out := g.Transpose(g.MatMul(g.Cast(scores, t.dtype), v), 0, 2, 1, 3)
	out = g.Reshape(out, out.Dim(0), out.Dim(1), onnx.N(int64(inner)))
	return t.w.Linear(g, out, prefix+".out_proj", t.width, inner)
}
