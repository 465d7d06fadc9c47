package imagedoctor

import (
	"fmt"

	"github.com/denseflow/densereward/engine/initializers"
	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/qwenvl"
	"github.com/denseflow/densereward/engine/safetensors"
)

// HeadWidths are the widths of the heatmap heads, which no configuration file
// names.
type HeadWidths struct {
	Width int // of a token: 768 as released
	MLP   int // inside the two-way transformer: 2048 as released
}

// Inventory lists the tensors of a checkpoint with the configuration c, in
// bfloat16: names and shapes as the graph demands them, then those that it does
// not read. c.VocabSize must be set.
func Inventory(c Config, heads HeadWidths) ([]safetensors.Tensor, error) {
	if c.VocabSize < 1 || heads.Width < 1 || heads.MLP < 1 {
		return nil, fmt.Errorf("imagedoctor: inventory: vocabulary %d and heads %+v must be positive", c.VocabSize, heads)
	}
	list := &initializers.Inventory{}
	// These tell the graph its widths; it asks for them again with what they say.
	list.Add(maskTokensName, 1, int64(heads.Width))
	list.Add(firstMLPName, int64(heads.MLP), int64(heads.Width))
	if _, err := buildGraph(c, list, graphOptions{Options: qwenvl.Options{DType: onnx.BFloat16}, heads: onnx.BFloat16}); err != nil {
		return nil, err
	}
	for _, t := range unused(heads) {
		list.Add(t.name, t.dims...)
	}
	return list.Tensors(), nil
}

// shaped is a tensor's name and shape.
type shaped struct {
	name string
	dims []int64
}

// unused lists the tensors of SAM's prompt encoder that checkpoints carry and
// nothing reads: the embeddings of points and of masks, which no image has.
func unused(heads HeadWidths) []shaped {
	const (
		prefix = "prompt_encoder."
		masks  = prefix + "mask_downscaling."
		narrow = 4 // channels after the first convolution
		wide   = 16
	)
	width := int64(heads.Width)
	list := []shaped{
		{masks + "0.weight", []int64{narrow, 1, 2, 2}}, {masks + "0.bias", []int64{narrow}},
		{masks + "1.weight", []int64{narrow}}, {masks + "1.bias", []int64{narrow}},
		{masks + "3.weight", []int64{wide, narrow, 2, 2}}, {masks + "3.bias", []int64{wide}},
		{masks + "4.weight", []int64{wide}}, {masks + "4.bias", []int64{wide}},
		{masks + "6.weight", []int64{width, wide, 1, 1}}, {masks + "6.bias", []int64{width}},
		{prefix + "not_a_point_embed.weight", []int64{1, width}},
	}
	for i := range 4 {
		list = append(list, shaped{fmt.Sprintf("%spoint_embeddings.%d.weight", prefix, i), []int64{1, width}})
	}
	return list
}
