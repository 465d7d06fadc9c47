package vae_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/safetensors"
	"github.com/denseflow/densereward/engine/vae"
	"github.com/denseflow/densereward/reward"
)

// npyOf is an .npy file of the type, whose data are zeros.
func npyOf(descr string, size int, shape ...int) []byte {
	n := size
	var dims strings.Builder
	for _, d := range shape {
		n *= d
		fmt.Fprintf(&dims, "%d, ", d)
	}
	header := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }\n", descr, &dims)
	file := binary.LittleEndian.AppendUint16([]byte("\x93NUMPY\x01\x00"), uint16(len(header)))
	return append(append(file, header...), make([]byte, n)...)
}

func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLatentsAreReadFromArrays(t *testing.T) {
	for name, c := range map[string]struct {
		data  []byte
		kind  reward.DType
		shape []int
	}{
		"a batch":              {npyOf("<f4", 4, 2, 16, 8, 8), reward.Float32, []int{2, 16, 8, 8}},
		"halves":               {npyOf("<f2", 2, 2, 16, 8, 8), reward.Float16, []int{2, 16, 8, 8}},
		"bfloat16 of numpy":    {npyOf("|V2", 2, 2, 16, 8, 8), reward.BFloat16, []int{2, 16, 8, 8}},
		"one image":            {npyOf("<f4", 4, 16, 8, 8), reward.Float32, []int{1, 16, 8, 8}},
		"one image of a frame": {npyOf("<f4", 4, 16, 1, 8, 8), reward.Float32, []int{1, 16, 1, 8, 8}},
		"a batch of frames":    {npyOf("<f4", 4, 2, 16, 1, 8, 8), reward.Float32, []int{2, 16, 1, 8, 8}},
		"packed tokens":        {npyOf("<f4", 4, 2, 16, 64), reward.Float32, []int{2, 16, 64}},
		"sixteen token images": {npyOf("<f4", 4, 16, 16, 64), reward.Float32, []int{16, 16, 64}},
	} {
		got, err := vae.ReadLatents(write(t, "x.npy", c.data), 16, 1<<20)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.Type != c.kind || !slices.Equal(got.Shape, c.shape) || got.Check() != nil {
			t.Errorf("%s: %s %v, want %s %v", name, got.Type, got.Shape, c.kind, c.shape)
		}
	}
}

func TestLatentsAreReadFromSafetensors(t *testing.T) {
	data := make([]byte, 2*16*4*4)
	data[3] = 0x3f
	latents := source("latents", safetensors.BF16, []int64{1, 16, 4, 4}, data)
	other := source("noise", safetensors.F32, []int64{2}, make([]byte, 8))
	for name, tensors := range map[string][]safetensors.Source{
		"the only tensor":    {source("x", safetensors.BF16, []int64{1, 16, 4, 4}, data)},
		"the one so called":  {latents, other},
		"one of three sizes": {source("x", safetensors.BF16, []int64{16, 4, 4}, data)},
	} {
		path := filepath.Join(t.TempDir(), "x.safetensors")
		if err := safetensors.Write(path, tensors); err != nil {
			t.Fatal(err)
		}
		got, err := vae.ReadLatents(path, 16, 1<<20)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.Type != reward.BFloat16 || !slices.Equal(got.Shape, []int{1, 16, 4, 4}) || !bytes.Equal(got.Data, data) {
			t.Errorf("%s: %s %v", name, got.Type, got.Shape)
		}
	}
	path := filepath.Join(t.TempDir(), "two.safetensors")
	if err := safetensors.Write(path, []safetensors.Source{other, source("z", safetensors.I64, []int64{1}, make([]byte, 8))}); err != nil {
		t.Fatal(err)
	}
	if _, err := vae.ReadLatents(path, 16, 1<<20); err == nil || !strings.Contains(err.Error(), "none called latents") {
		t.Errorf("two other tensors: %v", err)
	}
	path = filepath.Join(t.TempDir(), "ints.safetensors")
	if err := safetensors.Write(path, []safetensors.Source{source("latents", safetensors.I64, []int64{1}, make([]byte, 8))}); err != nil {
		t.Fatal(err)
	}
	if _, err := vae.ReadLatents(path, 16, 1<<20); err == nil || !strings.Contains(err.Error(), "I64") {
		t.Errorf("integers: %v", err)
	}
}

func TestFilesThatHoldNoLatentsAreErrors(t *testing.T) {
	good := npyOf("<f4", 4, 2, 16, 8, 8)
	for want, path := range map[string]string{
		"numpy signature": write(t, "x.npy", []byte("hello")),
		"bytes of data":   write(t, "x.npy", good[:len(good)-1]),
		"<i8":             write(t, "x.npy", npyOf("<i8", 8, 2, 2)),
		`not from ".pt"`:  write(t, "x.pt", good),
		"no such file":    filepath.Join(t.TempDir(), "none.npy"),
	} {
		if _, err := vae.ReadLatents(path, 16, 1<<20); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", filepath.Base(path), err, want)
		}
	}
	if _, err := vae.ReadLatents(write(t, "x.npy", good), 16, int64(len(good)/2)); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("more bytes than the limit: %v", err)
	}
}

func FuzzReadNPY(f *testing.F) {
	f.Add(npyOf("<f4", 4, 2, 16, 8, 8))
	f.Add(npyOf("|V2", 2, 16, 8, 8)[:100])
	f.Add([]byte("\x93NUMPY\x02\x00\xff\xff\xff\xff"))
	f.Add([]byte("\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99999999999), }"))
	f.Fuzz(func(t *testing.T, data []byte) {
		tensor, err := vae.ReadNPY(bytes.NewReader(data), 1<<16)
		if err != nil {
			return
		}
		if err := tensor.Check(); err != nil || len(tensor.Data) > 1<<16 {
			t.Errorf("a tensor of %d bytes: %v", len(tensor.Data), err)
		}
	})
}
