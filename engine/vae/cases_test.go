package vae_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/denseflow/densereward/internal/npy"
	"github.com/denseflow/densereward/reward"
)

// casesDir holds decoders and what diffusers makes with them, as
// testdata/diffusers_cases.py writes them: those of testdata, or others just made.
func casesDir() string {
	if dir := os.Getenv("DENSEREWARD_VAE_CASES"); dir != "" {
		return dir
	}
	return "testdata"
}

// cases are the arrays of cases.npz, which diffusers' own code made:
// NAME.GRID.latents as a trainer holds them, .tokens of them where the model's
// pipeline packs them, .decoded and .image, and the packing of FLUX's pipeline.
var cases = sync.OnceValues(func() (map[string]npy.Array, error) {
	f, err := os.Open(filepath.Join(casesDir(), "cases.npz"))
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

// grids lists the grids of a decoder's cases.
func grids(tb testing.TB, name string) []string {
	tb.Helper()
	all, err := cases()
	if err != nil {
		tb.Fatal(err)
	}
	var found []string
	for key := range all {
		if grid, ok := strings.CutSuffix(strings.TrimPrefix(key, name+"."), ".latents"); ok && strings.HasPrefix(key, name+".") {
			found = append(found, grid)
		}
	}
	if len(found) < 3 {
		tb.Fatalf("%s has the grids %q, want three", name, found)
	}
	slices.Sort(found)
	return found
}

// has tells whether there is such an array.
func has(tb testing.TB, name string) bool {
	tb.Helper()
	all, err := cases()
	if err != nil {
		tb.Fatal(err)
	}
	_, ok := all[name]
	return ok
}
