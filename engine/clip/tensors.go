package clip

import (
	"fmt"

	"github.com/denseflow/densereward/engine/initializers"
	"github.com/denseflow/densereward/engine/onnx"
)

// tensors are a checkpoint's tensors by their part in the model. A linear layer's
// weight is (out,in), its bias (out).
type tensors interface {
	// vector is a tensor of one dimension.
	vector(name vectorName, size int) onnx.Value
	// table is a tensor (rows,width).
	table(name tableName, rows, width int) onnx.Value
	// patches is the weight (hidden,3,patch,patch) of the patch embedding.
	patches(hidden, patch int) onnx.Value
	// block is block i of a tower.
	block(tower towerName, i int) blockTensors
}

type blockTensors interface {
	norm(second bool, size int) (weight, bias onnx.Value)
	attention(part attentionPart, size int) (weight, bias onnx.Value)
	mlp(second bool, out, in int) (weight, bias onnx.Value)
}

type (
	towerName     int
	vectorName    int
	tableName     int
	attentionPart int
)

const (
	textTower towerName = iota
	visionTower
)

const (
	textNormWeight vectorName = iota
	textNormBias
	preNormWeight
	preNormBias
	postNormWeight
	postNormBias
	classEmbedding
)

const (
	tokenEmbedding tableName = iota
	textPositions
	visionPositions
	textProjection   // (projection,hidden)
	visualProjection // (projection,hidden)
)

const (
	queryPart attentionPart = iota
	keyPart
	valuePart
	outPart
)

// huggingFace names tensors as transformers does.
type huggingFace struct {
	*initializers.Set
	dtype onnx.DType
}

func (h huggingFace) vector(name vectorName, size int) onnx.Value {
	return h.Tensor([...]string{
		textNormWeight: "text_model.final_layer_norm.weight", textNormBias: "text_model.final_layer_norm.bias",
		preNormWeight: "vision_model.pre_layrnorm.weight", preNormBias: "vision_model.pre_layrnorm.bias", // spelt so
		postNormWeight: "vision_model.post_layernorm.weight", postNormBias: "vision_model.post_layernorm.bias",
		classEmbedding: "vision_model.embeddings.class_embedding",
	}[name], h.dtype, int64(size))
}

func (h huggingFace) table(name tableName, rows, width int) onnx.Value {
	return h.Tensor([...]string{
		tokenEmbedding:  "text_model.embeddings.token_embedding.weight",
		textPositions:   "text_model.embeddings.position_embedding.weight",
		visionPositions: "vision_model.embeddings.position_embedding.weight",
		textProjection:  "text_projection.weight", visualProjection: "visual_projection.weight",
	}[name], h.dtype, int64(rows), int64(width))
}

func (h huggingFace) patches(hidden, patch int) onnx.Value {
	return h.Tensor("vision_model.embeddings.patch_embedding.weight", h.dtype, int64(hidden), 3, int64(patch), int64(patch))
}

func (h huggingFace) block(tower towerName, i int) blockTensors {
	model := [...]string{textTower: "text_model", visionTower: "vision_model"}[tower]
	return huggingFaceBlock{h, fmt.Sprintf("%s.encoder.layers.%d.", model, i)}
}

type huggingFaceBlock struct {
	huggingFace
	prefix string
}

func (b huggingFaceBlock) pair(name string, dims ...int64) (weight, bias onnx.Value) {
	return b.Tensor(b.prefix+name+".weight", b.dtype, dims...), b.Tensor(b.prefix+name+".bias", b.dtype, dims[0])
}

func (b huggingFaceBlock) norm(second bool, size int) (weight, bias onnx.Value) {
	return b.pair(pick(second, "layer_norm1", "layer_norm2"), int64(size))
}

func (b huggingFaceBlock) attention(part attentionPart, size int) (weight, bias onnx.Value) {
	name := [...]string{queryPart: "q_proj", keyPart: "k_proj", valuePart: "v_proj", outPart: "out_proj"}[part]
	return b.pair("self_attn."+name, int64(size), int64(size))
}

func (b huggingFaceBlock) mlp(second bool, out, in int) (weight, bias onnx.Value) {
	return b.pair(pick(second, "mlp.fc1", "mlp.fc2"), int64(out), int64(in))
}

func pick(second bool, a, b string) string {
	if second {
		return b
	}
	return a
}

// openCLIP names tensors as open_clip does: queries, keys and values in one, and
// projections the other way round.
type openCLIP struct {
	*initializers.Set
	dtype onnx.DType
}

func (o openCLIP) vector(name vectorName, size int) onnx.Value {
	return o.Tensor([...]string{
		textNormWeight: "ln_final.weight", textNormBias: "ln_final.bias",
		preNormWeight: "visual.ln_pre.weight", preNormBias: "visual.ln_pre.bias",
		postNormWeight: "visual.ln_post.weight", postNormBias: "visual.ln_post.bias",
		classEmbedding: "visual.class_embedding",
	}[name], o.dtype, int64(size))
}

func (o openCLIP) table(name tableName, rows, width int) onnx.Value {
	if name == textProjection || name == visualProjection {
		key := [...]string{textProjection: "text_projection", visualProjection: "visual.proj"}[name]
		return o.Once(key+" transposed", func(top *onnx.Graph) onnx.Value {
			return top.Transpose(o.Tensor(key, o.dtype, int64(width), int64(rows)), 1, 0)
		})
	}
	return o.Tensor([...]string{
		tokenEmbedding: "token_embedding.weight", textPositions: "positional_embedding", visionPositions: "visual.positional_embedding",
	}[name], o.dtype, int64(rows), int64(width))
}

func (o openCLIP) patches(hidden, patch int) onnx.Value {
	return o.Tensor("visual.conv1.weight", o.dtype, int64(hidden), 3, int64(patch), int64(patch))
}

func (o openCLIP) block(tower towerName, i int) blockTensors {
	return openCLIPBlock{o, fmt.Sprintf("%s.resblocks.%d.", [...]string{textTower: "transformer", visionTower: "visual.transformer"}[tower], i)}
}

type openCLIPBlock struct {
	openCLIP
	prefix string
}

func (b openCLIPBlock) pair(name string, dims ...int64) (weight, bias onnx.Value) {
	return b.Tensor(b.prefix+name+".weight", b.dtype, dims...), b.Tensor(b.prefix+name+".bias", b.dtype, dims[0])
}

func (b openCLIPBlock) norm(second bool, size int) (weight, bias onnx.Value) {
	return b.pair(pick(second, "ln_1", "ln_2"), int64(size))
}

func (b openCLIPBlock) attention(part attentionPart, size int) (weight, bias onnx.Value) {
	if part == outPart {
		return b.pair("attn.out_proj", int64(size), int64(size))
	}
	third := func(suffix string, dims ...int64) onnx.Value {
		name := b.prefix + "attn.in_proj_" + suffix
		return b.Once(fmt.Sprintf("third %d of %s", part, name), func(top *onnx.Graph) onnx.Value {
			dims[0] *= 3
			from := int64(part) * int64(size)
			return top.Slice(b.Tensor(name, b.dtype, dims...), 0, from, from+int64(size))
		})
	}
	return third("weight", int64(size), int64(size)), third("bias", int64(size))
}

func (b openCLIPBlock) mlp(second bool, out, in int) (weight, bias onnx.Value) {
	return b.pair(pick(second, "mlp.c_fc", "mlp.c_proj"), int64(out), int64(in))
}

var (
	_ tensors = huggingFace{}
	_ tensors = openCLIP{}
)
