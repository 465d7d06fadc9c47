package imagedoctor

import (
	"fmt"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/safetensors"
)

// inventory is a checkpoint that has whatever tensor the graph asks for: built
// against it, the graph lists the tensors of a configuration.
type inventory struct {
	tensors []safetensors.Tensor
	place   map[string]int
}

// HeadWidths are the widths of the heatmap heads, which no configuration file
// names.
type HeadWidths struct {
	Width int // of a token: 768 as released
	MLP   int // inside the two-way transformer: 2048 as released
}

// Inventory lists the tensors of a checkpoint with the configuration c, in
// bfloat16: names and shapes as the graph demands them. c.VocabSize must be
// set.
func Inventory(c Config, heads HeadWidths) ([]safetensors.Tensor, error) {
	if c.VocabSize < 1 || heads.Width < 1 || heads.MLP < 1 {
		return nil, fmt.Errorf("imagedoctor: inventory: vocabulary %d and heads %+v must be positive", c.VocabSize, heads)
	}
	list := &inventory{place: map[string]int{}}
	// These tell the graph its widths; it asks for them again with what they say.
	list.add(maskTokensName, []int64{1, int64(heads.Width)})
	list.add(firstMLPName, []int64{int64(heads.MLP), int64(heads.Width)})
	if _, err := buildGraph(c, list, graphOptions{dtype: onnx.BFloat16, heads: onnx.BFloat16}); err != nil {
		return nil, err
	}
	return list.tensors, nil
}

func (l *inventory) add(name string, dims []int64) {
	if _, ok := l.place[name]; ok {
		return
	}
	length := int64(2)
	for _, n := range dims {
		length *= n
	}
	l.place[name] = len(l.tensors)
	l.tensors = append(l.tensors, safetensors.Tensor{Name: name, DType: safetensors.BF16, Shape: dims, Length: length})
}

// Tensor implements tensorSource.
func (l *inventory) Tensor(name string) (safetensors.Tensor, bool) {
	i, ok := l.place[name]
	if !ok {
		return safetensors.Tensor{}, false
	}
	return l.tensors[i], true
}
