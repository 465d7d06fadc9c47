package vae

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/denseflow/densereward/engine/safetensors"
	"github.com/denseflow/densereward/internal/npy"
	"github.com/denseflow/densereward/reward"
)

// ReadLatents reads latents from a file of at most limit bytes of data: an .npy
// array, or the tensor called latents, or the only one, of a .safetensors file.
// An array of one image without its first dimension, (C,h,w) or (C,1,h,w), gets
// it where its first dimension is channels; otherwise three dimensions are packed
// tokens.
func ReadLatents(path string, channels int, limit int64) (*reward.Tensor, error) {
	var t *reward.Tensor
	var err error
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".npy":
		t, err = readNPYFile(path, limit)
	case ".safetensors":
		t, err = readSafetensors(path, limit)
	default:
		err = fmt.Errorf("latents are read from .npy and .safetensors, not from %q", ext)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	if s := t.Shape; len(s) == 3 && s[0] == channels && s[2] != 4*channels ||
		len(s) == 4 && s[0] == channels && s[1] == 1 && channels != 1 {
		t.Shape = append([]int{1}, s...)
	}
	return t, nil
}

func readNPYFile(path string, limit int64) (*reward.Tensor, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return readNPY(bufio.NewReader(f), limit)
}

// arrayTypes maps numpy's type strings. bfloat16 has none of its own: ml_dtypes
// writes it as two opaque bytes.
var arrayTypes = map[string]reward.DType{
	"<f2": reward.Float16, "<f4": reward.Float32, "<V2": reward.BFloat16, "|V2": reward.BFloat16,
}

func readNPY(r io.Reader, limit int64) (*reward.Tensor, error) {
	a, err := npy.Read(r, limit)
	if err != nil {
		return nil, err
	}
	kind, ok := arrayTypes[a.Descr]
	if !ok {
		return nil, fmt.Errorf("the array is %s; float32, float16 and bfloat16 can be used", a.Descr)
	}
	return &reward.Tensor{Type: kind, Shape: a.Shape, Data: a.Data}, nil
}

// tensorTypes maps the types of safetensors that latents come in.
var tensorTypes = map[safetensors.DType]reward.DType{
	safetensors.F16: reward.Float16, safetensors.BF16: reward.BFloat16, safetensors.F32: reward.Float32,
}

func readSafetensors(path string, limit int64) (*reward.Tensor, error) {
	checkpoint, err := safetensors.OpenFile(path)
	if err != nil {
		return nil, err
	}
	name := "latents"
	if names := checkpoint.Names(); len(names) == 1 {
		name = names[0]
	}
	found, ok := checkpoint.Tensor(name)
	if !ok {
		return nil, fmt.Errorf("several tensors and none called latents: %.200v", checkpoint.Names())
	}
	kind, ok := tensorTypes[found.DType]
	if !ok {
		return nil, fmt.Errorf("tensor %s is %v; F32, F16 and BF16 can be used", name, found.DType)
	}
	if found.Length > limit {
		return nil, fmt.Errorf("tensor %s has %d bytes, limit %d", name, found.Length, limit)
	}
	data, err := checkpoint.Read(name)
	if err != nil {
		return nil, err
	}
	t := &reward.Tensor{Type: kind, Data: data}
	for _, d := range found.Shape {
		t.Shape = append(t.Shape, int(d))
	}
	return t, nil
}
