package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/internal/npy"
	"github.com/denseflow/densereward/reward"
)

// mapFolder is where the maps of images go. Its zero value writes nothing.
type mapFolder struct {
	dir   string
	names []string // the stem of each image's files
}

// newMapFolder makes the folder dir for the maps of images; "" is none.
func newMapFolder(dir string, images []string, t terminal) (mapFolder, error) {
	if dir == "" {
		return mapFolder{}, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return mapFolder{}, err
	}
	f := mapFolder{dir: dir, names: stems(images)}
	for i, image := range images {
		if f.names[i] != stem(image) {
			t.say("%s: its maps are written as %s.*, since another image has its name", image, f.names[i])
		}
	}
	return f, nil
}

// stem is the name of a file without folder and extension.
func stem(path string) string {
	base := filepath.Base(path)
	return strings.TrimSuffix(base, filepath.Ext(base))
}

// stems gives each path its stem, and a number as well where an earlier one has
// the same.
func stems(paths []string) []string {
	taken := map[string]bool{}
	for _, path := range paths {
		taken[stem(path)] = true
	}
	given := map[string]bool{}
	names := make([]string, len(paths))
	for i, path := range paths {
		name := stem(path)
		for n := 2; given[name]; n++ {
			if numbered := fmt.Sprintf("%s-%d", stem(path), n); !taken[numbered] {
				name = numbered
			}
		}
		given[name], taken[name], names[i] = true, true, name
	}
	return names
}

// write writes the maps of image i.
func (f mapFolder) write(i int, image *reward.Image, gridText string, r reward.Result) error {
	if f.dir == "" {
		return nil
	}
	grid, err := dense.ParseGrid(gridText, image.Height, image.Width)
	if err != nil {
		return err
	}
	weight := denseWeight(grid, r)
	for _, m := range []struct {
		kind          string
		height, width int
		data          []float32
	}{
		{"misalignment", r.Misalignment.Height, r.Misalignment.Width, r.Misalignment.Data},
		{"artifact", r.Artifact.Height, r.Artifact.Width, r.Artifact.Data},
		{"dense", grid.Height, grid.Width, weight},
	} {
		err := f.create(i, m.kind+".npy", func(w io.Writer) error {
			return npy.WriteFloat32(w, m.data, m.height, m.width)
		})
		if err != nil {
			return err
		}
	}
	overlay, err := overlayPNG(image, r.Misalignment, r.Artifact)
	if err != nil {
		return err
	}
	return f.create(i, "overlay.png", func(w io.Writer) error {
		_, err := w.Write(overlay)
		return err
	})
}

// denseWeight is 1-H on the grid, (height,width), H being both heatmaps by their
// default weights.
func denseWeight(grid dense.Grid, r reward.Result) []float32 {
	pooled := func(h reward.Heatmap) []float32 {
		out := make([]float32, grid.Cells())
		dense.AdaptiveAvgPool(out, grid, h.Data, dense.Grid{Height: h.Height, Width: h.Width})
		return out
	}
	weights := reward.DefaultWeights()
	h := pooled(r.Misalignment)
	dense.Combine(h, h, pooled(r.Artifact), weights.Misalignment, weights.Artifact)
	dense.Weight(h, h)
	return h
}

// create writes one file of image i.
func (f mapFolder) create(i int, suffix string, write func(io.Writer) error) error {
	path := filepath.Join(f.dir, f.names[i]+"."+suffix)
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := write(file); err != nil {
		_ = file.Close() // the first error tells more
		return fmt.Errorf("%s: %w", path, err)
	}
	return file.Close()
}
