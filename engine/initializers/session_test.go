package initializers_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/initializers"
	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/orttest"
	"github.com/denseflow/densereward/engine/safetensors"
)

func constant(name string, value float32, dims ...int64) safetensors.Source {
	return safetensors.Source{Name: name, DType: safetensors.F32, Shape: dims, Fill: func(w io.Writer) error {
		n := int64(1)
		for _, d := range dims {
			n *= d
		}
		var data []byte
		for range n {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(value))
		}
		_, err := w.Write(data)
		return err
	}}
}

// TestFilesMayChangeUnderASession cuts the file and writes other weights into it.
func TestFilesMayChangeUnderASession(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.safetensors")
	tensors := func(scale float32) []safetensors.Source {
		return []safetensors.Source{constant("table", 3*scale, 300, 700), constant("matrix", 2*scale, 700, 700), constant("scale", 5*scale, 700)}
	}
	if err := safetensors.Write(path, tensors(1)); err != nil {
		t.Fatal(err)
	}
	c, err := safetensors.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := session(t, c)
	compute := func() float32 {
		t.Helper()
		out, err := s.Run(context.Background(), []ort.Tensor{ort.Int64s([]int64{2}, []int64{1, 2})})
		if err != nil {
			t.Fatal(err)
		}
		return out[0].Float32s()[0]
	}
	const want = 3 * 2 * 5 * 700
	other := filepath.Join(t.TempDir(), "other.safetensors")
	if err := safetensors.Write(other, tensors(2)); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil { // in place
		t.Fatal(err)
	}
	if got := compute(); got != want {
		t.Errorf("after other weights were written: %v, want %v", got, want)
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if got := compute(); got != want {
		t.Errorf("after the file was cut: %v, want %v", got, want)
	}
	// Loading again would take what lies there now.
	if err := s.Unload(); err != nil {
		t.Fatal(err)
	}
	_, err = s.Run(context.Background(), []ort.Tensor{ort.Int64s([]int64{2}, []int64{1, 2})})
	if !errors.Is(err, safetensors.ErrChanged) || !strings.Contains(err.Error(), path) {
		t.Errorf("loaded again: %v", err)
	}
}

// session is y = scale * (table[ids] x matrix).
func session(t *testing.T, c *safetensors.Checkpoint) *ort.Session {
	t.Helper()
	g := onnx.New("g")
	set := initializers.New(g, c, "model")
	ids := g.Input("ids", onnx.Int64, onnx.Shape{onnx.Sym("n")})
	x := g.Gather(set.Tensor("table", onnx.Float32, 300, 700), ids, 0)
	x = g.MatMulT(x, set.Tensor("matrix", onnx.Float32, 700, 700), 1)
	g.Output("y", g.Mul(x, set.Tensor("scale", onnx.Float32, 700)))
	model, err := g.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	s, err := orttest.Open(t).NewSession(model, g.InputNames(), g.OutputNames(),
		ort.SessionOptions{Threads: 1, InitializersDir: c.Folder(), Unchanged: c.Unchanged})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// On the CPU float16 is computed with as well; a table of it is not even cast.
func TestNoFileStaysMapped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.safetensors")
	var tensors []safetensors.Source
	for _, d := range []safetensors.DType{safetensors.F32, safetensors.F16, safetensors.BF16} {
		tensors = append(tensors, safetensors.Source{Name: string(d), DType: d, Shape: []int64{300, 700}})
	}
	if err := safetensors.Write(path, tensors); err != nil {
		t.Fatal(err)
	}
	c, err := safetensors.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	g := onnx.New("g")
	set := initializers.New(g, c, "model")
	ids := g.Input("ids", onnx.Int64, onnx.Shape{onnx.Sym("n")})
	for _, dtype := range []onnx.DType{onnx.Float32, onnx.Float16} {
		for _, stored := range c.Names() {
			g.Output(fmt.Sprintf("%s as %v", stored, dtype), g.Cast(g.Gather(set.Tensor(stored, dtype, 300, 700), ids, 0), onnx.Float32))
		}
	}
	model, err := g.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	s, err := orttest.Open(t).NewSession(model, g.InputNames(), g.OutputNames(), ort.SessionOptions{Threads: 1, InitializersDir: c.Folder()})
	if err != nil {
		t.Fatal(err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err == nil && strings.Contains(string(maps), path) {
		t.Error("the file stays mapped")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestShardsInSeveralFoldersAreOneCheckpoint has a shard behind a link.
func TestShardsInSeveralFoldersAreOneCheckpoint(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"tuned", "base/blobs"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	tuned, shard := filepath.Join(root, "tuned"), filepath.Join(root, "base", "blobs", "0a1b")
	index := `{"weight_map": {"table": "a.safetensors", "matrix": "a.safetensors", "scale": "b.safetensors"}}`
	if err := errors.Join(
		safetensors.Write(shard, []safetensors.Source{constant("table", 3, 300, 700), constant("matrix", 2, 700, 700)}),
		os.Symlink(shard, filepath.Join(tuned, "a.safetensors")),
		safetensors.Write(filepath.Join(tuned, "b.safetensors"), []safetensors.Source{constant("scale", 5, 700)}),
		os.WriteFile(filepath.Join(tuned, "model.safetensors.index.json"), []byte(index), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	c, err := safetensors.Open(tuned)
	if err != nil {
		t.Fatal(err)
	}
	out, err := session(t, c).Run(context.Background(), []ort.Tensor{ort.Int64s([]int64{1}, []int64{7})})
	if err != nil {
		t.Fatal(err)
	}
	if got := out[0].Float32s()[0]; got != 3*2*5*700 {
		t.Errorf("%v", got)
	}
}
