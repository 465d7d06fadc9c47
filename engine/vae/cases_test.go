package vae_test

import (
	"archive/zip"
	"path/filepath"
	"testing"

	"github.com/denseflow/densereward/engine/vae"
	"github.com/denseflow/densereward/reward"
)

// array is one array of testdata/cases.npz, which diffusers' own code made:
// NAME.GRID.latents as a trainer holds them, .decoded and .image of them, and
// the packing of FLUX's pipeline.
func array(tb testing.TB, name string) *reward.Tensor {
	tb.Helper()
	archive, err := zip.OpenReader(filepath.Join("testdata", "cases.npz"))
	if err != nil {
		tb.Fatal(err)
	}
	defer archive.Close()
	f, err := archive.Open(name + ".npy")
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	t, err := vae.ReadNPY(f, 1<<24)
	if err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
	return t
}
