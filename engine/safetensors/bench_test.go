package safetensors

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// fullSize lists tensors in the number and of the sizes of a decoder of 3
// billion parameters: 7 GB in bfloat16, all holes.
func fullSize() []Source {
	tensors := []Source{{Name: "model.embed_tokens.weight", DType: BF16, Shape: []int64{151936, 2048}}}
	for layer := range 36 {
		add := func(name string, shape ...int64) {
			tensors = append(tensors, Source{Name: fmt.Sprintf("model.layers.%d.%s", layer, name), DType: BF16, Shape: shape})
		}
		for _, projection := range []string{"gate_proj", "up_proj"} {
			add("mlp."+projection+".weight", 11008, 2048)
		}
		add("mlp.down_proj.weight", 2048, 11008)
		for _, projection := range []string{"q_proj", "o_proj"} {
			add("self_attn."+projection+".weight", 2048, 2048)
		}
		for _, projection := range []string{"k_proj", "v_proj"} {
			add("self_attn."+projection+".weight", 256, 2048)
			add("self_attn."+projection+".bias", 256)
		}
		add("input_layernorm.weight", 2048)
		add("post_attention_layernorm.weight", 2048)
	}
	for block := range 32 {
		for _, part := range []string{"norm1", "norm2", "attn.qkv", "attn.proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"} {
			for _, kind := range []string{"weight", "bias"} {
				tensors = append(tensors, Source{
					Name: fmt.Sprintf("visual.blocks.%d.%s.%s", block, part, kind), DType: BF16, Shape: []int64{1280, 1280},
				})
			}
		}
	}
	return tensors
}

func fullSizeFolder(b *testing.B) string {
	b.Helper()
	dir := b.TempDir()
	if err := WriteShards(dir, fullSize(), 4<<30); err != nil {
		b.Fatal(err)
	}
	return dir
}

func BenchmarkOpenFullSize(b *testing.B) {
	dir := fullSizeFolder(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Open(dir); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFingerprintFullSize(b *testing.B) {
	c, err := Open(fullSizeFolder(b))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := c.Fingerprint(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWrite64MB(b *testing.B) {
	path := filepath.Join(b.TempDir(), "model.safetensors")
	block := make([]byte, 64<<10)
	source := Source{Name: "w", DType: BF16, Shape: []int64{32 << 20}, Fill: func(w io.Writer) error {
		for range 1 << 10 {
			if _, err := w.Write(block); err != nil {
				return err
			}
		}
		return nil
	}}
	b.SetBytes(64 << 20)
	b.ReportAllocs()
	for b.Loop() {
		if err := Write(path, []Source{source}); err != nil {
			b.Fatal(err)
		}
	}
	if err := os.Remove(path); err != nil {
		b.Fatal(err)
	}
}
