package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/internal/npy"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/scoring"
)

// mapFolder is where the maps of pictures go. Its zero value writes nothing.
type mapFolder struct {
	dir     string
	names   []string // the stem of each picture's files
	sources []source
	about   reward.Description
}

// newMapFolder is the folder dir for the maps of sources; "" is none.
func newMapFolder(dir string, sources []source, about reward.Description, t terminal) mapFolder {
	if dir == "" {
		return mapFolder{}
	}
	wanted := make([]string, len(sources))
	for i, s := range sources {
		wanted[i] = s.stem
	}
	f := mapFolder{dir: dir, names: distinct(wanted), sources: sources, about: about}
	for i, s := range sources {
		if f.names[i] != s.stem {
			t.say("%s: its maps are written as %s.*, since another image has its name", s.name, f.names[i])
		}
	}
	return f
}

// stem is the name of a file without folder and extension.
func stem(path string) string {
	base := filepath.Base(path)
	return strings.TrimSuffix(base, filepath.Ext(base))
}

// distinct gives each name that an earlier one has already a number as well.
func distinct(wanted []string) []string {
	taken := map[string]bool{}
	for _, name := range wanted {
		taken[name] = true
	}
	given := map[string]bool{}
	names := make([]string, len(wanted))
	for i, name := range wanted {
		for n := 2; given[name]; n++ {
			if numbered := fmt.Sprintf("%s-%d", wanted[i], n); !taken[numbered] {
				name = numbered
			}
		}
		given[name], taken[name], names[i] = true, true, name
	}
	return names
}

// writeAll writes the maps of the pictures from first on that were scored, on
// all cores.
func (f mapFolder) writeAll(first int, pictures []*reward.Image, outcomes []batch.Outcome) error {
	if f.dir == "" {
		return nil
	}
	errs := make([]error, len(pictures))
	var next atomic.Int64
	var writers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		writers.Go(func() {
			for k := next.Add(1) - 1; k < int64(len(pictures)); k = next.Add(1) - 1 {
				if outcomes[k].Err == nil {
					errs[k] = f.write(first+int(k), pictures[k], outcomes[k].Result)
				}
			}
		})
	}
	writers.Wait()
	return errors.Join(errs...)
}

// write writes the maps of picture i.
func (f mapFolder) write(i int, image *reward.Image, r reward.Result) error {
	grid, err := f.sources[i].grid(image)
	if err != nil {
		return err
	}
	maps := make([]namedMap, len(r.Maps))
	for k, m := range r.Maps {
		maps[k] = namedMap{f.about.Maps[k].Name, m}
	}
	weight := reward.Map{Height: grid.Height, Width: grid.Width, Data: f.denseWeight(grid, r)}
	for _, m := range append(maps, namedMap{"dense", weight}) {
		err := f.create(i, m.name+".npy", func(w io.Writer) error {
			return npy.WriteFloat32(w, m.Data, m.Height, m.Width)
		})
		if err != nil {
			return err
		}
	}
	overlay, err := overlayPNG(image, maps...)
	if err != nil {
		return err
	}
	return f.create(i, "overlay.png", func(w io.Writer) error {
		_, err := w.Write(overlay)
		return err
	})
}

// denseWeight is 1-H on the grid, (height,width), H being all maps by their
// default weights.
func (f mapFolder) denseWeight(grid dense.Grid, r reward.Result) []float32 {
	weights, _ := f.about.Weighting(nil) // only a name can be wrong
	h := make([]float32, grid.Cells())
	new(scoring.Combiner).Combine(h, grid, r.Maps, weights.Maps)
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
