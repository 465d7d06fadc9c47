package files

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/denseflow/densereward/cmd/densereward/overlay"
	"github.com/denseflow/densereward/internal/npy"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/scoring"
)

// mapFolder is where the maps of samples go. Its zero value writes nothing.
type mapFolder struct {
	dir   string
	about reward.Description
}

// newMapFolder is the folder dir for the maps of parts, whose stems it makes
// distinct; "" is none.
func newMapFolder(dir string, parts []part, about reward.Description, say func(format string, args ...any)) mapFolder {
	if dir == "" {
		return mapFolder{}
	}
	var wanted []string
	for _, p := range parts {
		wanted = append(wanted, p.stems...)
	}
	given := distinct(wanted)
	for _, p := range parts {
		for i, stem := range p.stems {
			if given[i] != stem {
				say("%s: its maps are written as %s.*, since another image has its name", p.names[i], given[i])
			}
			p.stems[i] = given[i]
		}
		given = given[len(p.stems):]
	}
	return mapFolder{dir: dir, about: about}
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

// write writes the maps of sample i of scored under a stem.
func (f mapFolder) write(stem string, image *reward.Image, scored *scoring.Scored, i int) error {
	if f.dir == "" {
		return nil
	}
	var maps []overlay.Map
	for k, m := range scored.Outcomes[i].Maps {
		maps = append(maps, overlay.Map{Name: f.about.Maps[k].Name, Map: m})
	}
	files := maps
	if scored.Weight != nil {
		grid := scored.Grids.Of(i)
		weight := reward.Map{Height: grid.Height, Width: grid.Width, Data: scored.Grids.Map(scored.Weight, i)}
		files = append(slices.Clip(maps), overlay.Map{Name: "dense", Map: weight})
	}
	for _, m := range files {
		err := f.create(stem, m.Name+".npy", func(w io.Writer) error {
			return npy.WriteFloat32(w, m.Data, m.Height, m.Width)
		})
		if err != nil {
			return err
		}
	}
	panels, err := overlay.PNG(image, maps...)
	if err != nil {
		return err
	}
	return f.create(stem, "overlay.png", func(w io.Writer) error {
		_, err := w.Write(panels)
		return err
	})
}

func (f mapFolder) create(stem, suffix string, write func(io.Writer) error) error {
	path := filepath.Join(f.dir, stem+"."+suffix)
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
