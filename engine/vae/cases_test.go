package vae_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/denseflow/densereward/internal/npy"
	"github.com/denseflow/densereward/reward"
)

// cases are the arrays of testdata/cases.npz, which diffusers' own code made:
// NAME.GRID.latents as a trainer holds them, .decoded and .image of them, and
// the packing of FLUX's pipeline.
var cases = sync.OnceValues(func() (map[string]npy.Array, error) {
	f, err := os.Open(filepath.Join("testdata", "cases.npz"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return npy.ReadZip(f, info.Size(), 1<<24)
})

// array is one of the cases.
func array(tb testing.TB, name string) *reward.Tensor {
	tb.Helper()
	all, err := cases()
	if err != nil {
		tb.Fatal(err)
	}
	a, ok := all[name]
	if !ok {
		tb.Fatalf("no array %s", name)
	}
	kind := map[string]reward.DType{"<f4": reward.Float32, "|u1": reward.Uint8}[a.Descr]
	return &reward.Tensor{Type: kind, Shape: a.Shape, Data: a.Data}
}
