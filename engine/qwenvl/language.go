package qwenvl

import (
	"fmt"

	"github.com/denseflow/densereward/engine/initializers"
	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
)

// language writes the language model into a graph. Tokens of all rows stand
// behind each other, without padding: activations are (T,hidden). Only the
// attention knows which token belongs to which row.
type language struct {
	w     *initializers.Set
	c     checkpoint.Config
	dtype onnx.DType
}

// attention is causal attention with a cache, over packed tokens.
type attention interface {
	// attend adds layer i's attention: query (T,heads*size), key and value
	// (T,kvHeads*size), rotated; the result is (T,heads*size).
	attend(i int, query, key, value onnx.Value) onnx.Value
}

// window is the new tokens of one step: the same number in every row, the
// newest token and the draft tokens that may follow.
type window struct {
	past onnx.Value // (B) int32: how many tokens of each row have been through
	size onnx.Value // () int64: tokens a row
	dim  onnx.Dim   // the same
}

// runLayers is what a cache attends for.
type runLayers func(attention) (sum, branch onnx.Value)

// cache holds the keys and values of the tokens that went through the model.
type cache interface {
	// prompt attends within the prompts while run runs, and keeps their keys and
	// values.
	prompt(g *onnx.Graph, run runLayers) (sum, branch onnx.Value)
	// grow makes the room of a level, behind the last one's, in g. It returns the
	// number of tokens (int64 scalar) that an answer may have there: see
	// Graph.roomOf.
	grow(g *onnx.Graph, level int) (room onnx.Value)
	// carried is what passes from one step to the next, with the shapes of what
	// changes in size (see onnx.Graph.Loop).
	carried(g *onnx.Graph) ([]onnx.Value, []onnx.Shape)
	// step attends from the tokens of a window to each other and to all before
	// them while run runs. next makes of kept (B,window) bool, the tokens that
	// turned out to be the answer's, what is carried on.
	step(g *onnx.Graph, w window, state []onnx.Value, run runLayers) (sum, branch onnx.Value, next func(kept onnx.Value) []onnx.Value)
}

// vocabulary is the number of rows of the embedding.
func (l *language) vocabulary() int { return l.c.Vocabulary(l.w.Lookup) }

func (l *language) embedding() onnx.Value {
	return l.w.Tensor(checkpoint.EmbeddingName, l.dtype, int64(l.vocabulary()), int64(l.c.HiddenSize))
}

// head is the logits (B,vocabulary) of hidden states (B,hidden), in the model's type.
func (l *language) head(g *onnx.Graph, hidden onnx.Value) onnx.Value {
	table := l.embedding()
	if !l.c.TieWordEmbeddings {
		table = l.w.Tensor("lm_head.weight", l.dtype, int64(l.vocabulary()), int64(l.c.HiddenSize))
	}
	return g.MatMulT(hidden, table, 1)
}

// images are features that are added to the tokens at slots behind the first layers,
// (U,hidden) each.
type images struct {
	slots onnx.Value
	deep  []onnx.Value
}

// layers runs tokens x (T,hidden) through all blocks. The result is not yet
// normalised: it is the sum of both values, which final adds and normalises.
// Where only some tokens' states are wanted, only those (R) go on behind the last
// attention.
func (l *language) layers(g *onnx.Graph, x onnx.Value, turn rope, a attention, im images, only onnx.Value) (sum, branch onnx.Value) {
	for i := range l.c.NumLayers {
		pick := onnx.Value{}
		if i == l.c.NumLayers-1 {
			pick = only
		}
		g.Scope(fmt.Sprintf("layers.%d", i), func() {
			x, branch = l.layer(g, i, x, branch, turn, a, pick)
			if i < len(im.deep) {
				slots := g.Unsqueeze(im.slots, 1)
				x = g.ScatterND(x, slots, g.Add(g.Gather(x, im.slots, 0), im.deep[i]))
			}
		})
	}
	return x, branch
}

// final is the hidden state after the last norm.
func (l *language) final(g *onnx.Graph, sum, branch onnx.Value) onnx.Value {
	weight := l.w.Tensor("model.norm.weight", l.dtype, int64(l.c.HiddenSize))
	h, _ := g.SkipRMSNorm(sum, branch, weight, onnx.Value{}, float32(l.c.RMSNormEps))
	return h
}

func (l *language) layer(g *onnx.Graph, i int, x, branch onnx.Value, turn rope, a attention, only onnx.Value) (sum, next onnx.Value) {
	c, prefix, eps := l.c, fmt.Sprintf("model.layers.%d", i), float32(l.c.RMSNormEps)
	norm1 := l.w.Tensor(prefix+".input_layernorm.weight", l.dtype, int64(c.HiddenSize))
	norm2 := l.w.Tensor(prefix+".post_attention_layernorm.weight", l.dtype, int64(c.HiddenSize))
	inner, hidden, width := int64(c.IntermediateSize), int64(c.HiddenSize), int64((c.NumHeads+2*c.NumKVHeads)*c.HeadDim)
	h, x := g.NormedRows(x, branch, norm1, onnx.Value{}, eps, width)
	attended := l.attend(g, h, prefix+".self_attn.", turn, func(q, k, v onnx.Value) onnx.Value { return a.attend(i, q, k, v) })
	if only.Valid() {
		attended, x = g.Gather(attended, only, 0), g.Gather(x, only, 0)
	}
	output := l.w.Tensor(prefix+".self_attn.o_proj.weight", l.dtype, hidden, int64(c.NumHeads*c.HeadDim))
	attended = g.Times(g.Rows(attended, hidden), output)

	h, x = g.NormedRows(x, attended, norm2, onnx.Value{}, eps, 2*inner)
	gate := l.w.Tensor(prefix+".mlp.gate_proj.weight", l.dtype, inner, hidden)
	up := l.w.Tensor(prefix+".mlp.up_proj.weight", l.dtype, inner, hidden)
	gated := g.GatedLinear(h, gate, up, onnx.Value{}, onnx.Value{}, hidden)
	return x, g.Times(gated, l.w.Tensor(prefix+".mlp.down_proj.weight", l.dtype, hidden, inner))
}

// attend projects h (T,hidden), turns queries and keys, and attends.
func (l *language) attend(g *onnx.Graph, h onnx.Rows, prefix string, turn rope, attend func(q, k, v onnx.Value) onnx.Value) onnx.Value {
	weight, bias := l.projections(prefix)
	heads, kvHeads, size := int64(l.c.NumHeads), int64(l.c.NumKVHeads), int64(l.c.HeadDim)
	if !l.c.QueryKeyNorm {
		parts := g.RotaryLinear(h, weight, bias, turn.cos, turn.sin, heads, kvHeads)
		return attend(parts[0], parts[1], parts[2])
	}
	parts := g.Split(g.TimesPlus(h, weight, bias), -1, heads*size, kvHeads*size, kvHeads*size)
	query, key := l.headNorm(g, parts[0], prefix+"q_norm"), l.headNorm(g, parts[1], prefix+"k_norm")
	return attend(g.Rotate(query, turn.cos, turn.sin, heads, false), g.Rotate(key, turn.cos, turn.sin, kvHeads, false), parts[2])
}

// headNorm is the RMSNorm of each head of x (T,heads*size).
func (l *language) headNorm(g *onnx.Graph, x onnx.Value, name string) onnx.Value {
	width, _ := x.Dim(1).Fixed()
	size := int64(l.c.HeadDim)
	weight := l.w.Tensor(name+".weight", l.dtype, size)
	normed := g.RMSNorm(g.Reshape(x, x.Dim(0), onnx.N(width/size), onnx.N(size)), weight, float32(l.c.RMSNormEps))
	return g.Reshape(normed, x.Dim(0), x.Dim(1))
}

// projections joins the weights and biases of queries, keys and values, so that
// one product makes all three. The join happens once, when a session loads the
// graph.
func (l *language) projections(prefix string) (weight, bias onnx.Value) {
	width, kvWidth := l.c.NumHeads*l.c.HeadDim, l.c.NumKVHeads*l.c.HeadDim
	return l.w.Joined(l.dtype, l.c.HiddenSize, l.c.AttentionBias,
		initializers.Layer{Name: prefix + "q_proj", Out: width},
		initializers.Layer{Name: prefix + "k_proj", Out: kvWidth},
		initializers.Layer{Name: prefix + "v_proj", Out: kvWidth},
	)
}
