package imagedoctor

import (
	"fmt"
	"math"

	"github.com/denseflow/densereward/engine/onnx"
)

// language writes the language model into a graph. Tokens of all rows stand
// behind each other, without padding: activations are (T,hidden). Only the
// attention knows which token belongs to which row.
type language struct {
	w     *weights
	c     Config
	dtype onnx.DType
}

// attention is causal attention with a cache, over packed tokens.
type attention interface {
	// attend adds layer i's attention: query (T,heads*size), key and value
	// (T,kvHeads*size), rotated already; the result is (T,heads*size).
	attend(g *onnx.Graph, i int, query, key, value onnx.Value) onnx.Value
}

// rotation is the cosines and sines (rows,size/2) and each token's row (1,T).
type rotation struct{ cos, sin, rows onnx.Value }

// inverseFrequencies is the angle that each pair of a head's values turns by
// from one position to the next.
func (l *language) inverseFrequencies() []float32 {
	half := l.c.HeadDim / 2
	freqs := make([]float32, half)
	for i := range freqs {
		freqs[i] = float32(1 / float64(float32(math.Pow(l.c.RopeTheta, float64(float32(2*i)/float32(l.c.HeadDim))))))
	}
	return freqs
}

// prompt is the rotation of a prompt whose tokens stand at positions (3,T)
// int64 of time, height and width: M-RoPE gives each axis a section of the
// frequencies.
func (l *language) prompt(g *onnx.Graph, positions onnx.Value) rotation {
	freqs := l.inverseFrequencies()
	half := int64(len(freqs))
	tokens := positions.Dim(1)
	var angles onnx.Value
	at := 0
	for axis, n := range l.c.MRopeSection {
		section := make([]float32, half)
		copy(section[at:at+n], freqs[at:at+n])
		at += n
		p := g.Cast(g.Slice(positions, 0, int64(axis), int64(axis+1)), onnx.Float32)
		part := g.Mul(g.Reshape(p, tokens, onnx.N(1)), onnx.Const(g, section, 1, half))
		if axis == 0 {
			angles = part
		} else {
			angles = g.Add(angles, part)
		}
	}
	rows := g.Unsqueeze(g.Range(g.Squeeze(g.SizeOf(positions, 1), 0), tokens), 0)
	return l.rotation(g, angles, rows)
}

// step is the rotation of one token a row, at positions (B) int64 that are the
// same on all axes, as those of text are.
func (l *language) step(g *onnx.Graph, positions onnx.Value) rotation {
	freqs := l.inverseFrequencies()
	half := int64(len(freqs))
	batch := positions.Dim(0)
	p := g.Reshape(g.Cast(positions, onnx.Float32), batch, onnx.N(1))
	angles := g.Mul(p, onnx.Const(g, freqs, 1, half))
	rows := g.Unsqueeze(g.Range(g.Squeeze(g.SizeOf(positions, 0), 0), batch), 0)
	return l.rotation(g, angles, rows)
}

func (l *language) rotation(g *onnx.Graph, angles, rows onnx.Value) rotation {
	return rotation{cos: g.Cast(g.Cos(angles), l.dtype), sin: g.Cast(g.Sin(angles), l.dtype), rows: rows}
}

// vocabulary is the number of rows of the embedding.
func (l *language) vocabulary() int {
	if l.c.VocabSize > 0 {
		return l.c.VocabSize
	}
	if t, ok := l.w.checkpoint.Tensor(embeddingName); ok && len(t.Shape) == 2 {
		return int(t.Shape[0])
	}
	return 0
}

const embeddingName = "model.embed_tokens.weight"

func (l *language) embedding() onnx.Value {
	return l.w.tensor(embeddingName, l.dtype, int64(l.vocabulary()), int64(l.c.HiddenSize))
}

// head is the logits (B,vocabulary) of hidden states (B,hidden), as float32.
func (l *language) head(g *onnx.Graph, hidden onnx.Value) onnx.Value {
	table := l.embedding()
	if !l.c.TieWordEmbeddings {
		table = l.w.tensor("lm_head.weight", l.dtype, int64(l.vocabulary()), int64(l.c.HiddenSize))
	}
	return g.Cast(g.MatMulT(hidden, table, 1), onnx.Float32)
}

// layers runs tokens x (T,hidden) through all blocks. The result is not yet
// normalised: it is the sum of both values, which final adds and normalises.
func (l *language) layers(g *onnx.Graph, x onnx.Value, r rotation, a attention) (sum, branch onnx.Value) {
	for i := range l.c.NumLayers {
		g.Scope(fmt.Sprintf("layers.%d", i), func() { x, branch = l.layer(g, i, x, branch, r, a) })
	}
	return x, branch
}

// final is the hidden state after the last norm.
func (l *language) final(g *onnx.Graph, sum, branch onnx.Value) onnx.Value {
	weight := l.w.tensor("model.norm.weight", l.dtype, int64(l.c.HiddenSize))
	h, _ := g.SkipRMSNorm(sum, branch, weight, float32(l.c.RMSNormEps))
	return h
}

func (l *language) layer(g *onnx.Graph, i int, x, branch onnx.Value, r rotation, a attention) (sum, next onnx.Value) {
	c, prefix, eps := l.c, fmt.Sprintf("model.layers.%d", i), float32(l.c.RMSNormEps)
	norm1 := l.w.tensor(prefix+".input_layernorm.weight", l.dtype, int64(c.HiddenSize))
	norm2 := l.w.tensor(prefix+".post_attention_layernorm.weight", l.dtype, int64(c.HiddenSize))
	var h onnx.Value
	if branch.Valid() {
		h, x = g.SkipRMSNorm(x, branch, norm1, eps)
	} else {
		h = g.RMSNorm(x, norm1, eps)
	}
	width, kvWidth := c.NumHeads*c.HeadDim, c.NumKVHeads*c.HeadDim
	query := l.w.linear(g, h, prefix+".self_attn.q_proj", width, c.HiddenSize)
	key := l.w.linear(g, h, prefix+".self_attn.k_proj", kvWidth, c.HiddenSize)
	value := l.w.linear(g, h, prefix+".self_attn.v_proj", kvWidth, c.HiddenSize)
	query = l.rotate(g, query, r, c.NumHeads)
	key = l.rotate(g, key, r, c.NumKVHeads)
	attended := l.w.linearNoBias(g, a.attend(g, i, query, key, value), prefix+".self_attn.o_proj", c.HiddenSize, width)

	h, x = g.SkipRMSNorm(x, attended, norm2, eps)
	gate := l.w.linearNoBias(g, h, prefix+".mlp.gate_proj", c.IntermediateSize, c.HiddenSize)
	up := l.w.linearNoBias(g, h, prefix+".mlp.up_proj", c.IntermediateSize, c.HiddenSize)
	return x, l.w.linearNoBias(g, g.Mul(g.Silu(gate), up), prefix+".mlp.down_proj", c.HiddenSize, c.IntermediateSize)
}

// rotate turns the heads of x (T,heads*size).
func (l *language) rotate(g *onnx.Graph, x onnx.Value, r rotation, heads int) onnx.Value {
	rotated := g.RotaryEmbedding(g.Unsqueeze(x, 0), r.rows, r.cos, r.sin, int64(heads))
	return g.Squeeze(rotated, 0)
}
