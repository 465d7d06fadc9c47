package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/engine/pixels"
	"github.com/denseflow/densereward/engine/vae"
	"github.com/denseflow/densereward/reward"
)

// source is one picture that score is asked about.
type source struct {
	name string // as it is printed
	stem string // of the files that are written about it
	load func(ctx context.Context) (*reward.Image, error)
	grid func(image *reward.Image) (dense.Grid, error)
}

// sources makes sources of files: images, and latents that decoder decodes.
type sources struct {
	files   *pixels.Decoder
	decoder *vae.Decoder // nil without --vae
	grid    string       // of the dense maps; "" follows the file
	batch   int          // latents decoded at a time
}

// maxLatents bounds the bytes of a file of latents.
const maxLatents = 4 << 30

// isLatents tells files of latents by their names.
func isLatents(path string) bool {
	return slices.Contains([]string{".npy", ".safetensors"}, strings.ToLower(filepath.Ext(path)))
}

// of makes the sources of a file: one, or one for each sample of latents.
func (s *sources) of(path string) []source {
	if !isLatents(path) {
		return []source{s.image(path)}
	}
	latents, err := s.readLatents(path)
	if err != nil {
		failed := func(context.Context) (*reward.Image, error) { return nil, err }
		return []source{{name: path, stem: stem(path), load: failed}}
	}
	var all []source
	for first := 0; first < latents.Shape[0]; first += s.batch {
		all = append(all, s.latents(path, latents, first)...)
	}
	return all
}

// image is the source of an image file.
func (s *sources) image(path string) source {
	return source{
		name: path, stem: stem(path),
		load: func(context.Context) (*reward.Image, error) {
			data, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			image, err := s.files.Decode(data)
			return (*reward.Image)(image), err
		},
		grid: func(image *reward.Image) (dense.Grid, error) { return s.gridOf(image) },
	}
}

// gridOf is the grid by the flag, for the size of a picture.
func (s *sources) gridOf(image *reward.Image) (dense.Grid, error) {
	grid := s.grid
	if grid == "" {
		grid = defaultGrid
	}
	return dense.ParseGrid(grid, image.Height, image.Width)
}

// defaultGrid is that of images; latents have their own.
const defaultGrid = "sd3"

func (s *sources) readLatents(path string) (*reward.Tensor, error) {
	if s.decoder == nil {
		return nil, fmt.Errorf("latents need a decoder: --vae DIR")
	}
	latents, err := vae.ReadLatents(path, s.decoder.Describe().Channels, maxLatents)
	if err != nil {
		return nil, err
	}
	if _, _, err := s.decoder.Grid(latents.Shape); err != nil && !s.fits(latents) {
		return nil, err
	}
	if latents.Shape[0] == 0 {
		return nil, fmt.Errorf("no latents: shape %v", latents.Shape)
	}
	return latents, nil
}

// fits reports whether the grid flag says how packed tokens lie.
func (s *sources) fits(latents *reward.Tensor) bool {
	grid, err := dense.ParseGrid(s.grid, 0, 0)
	return err == nil && len(latents.Shape) == 3 && grid.Cells() == latents.Shape[1]
}

// latents is the sources of a file's samples from first on, as many as are
// decoded together, which happens when the first of them is asked for.
func (s *sources) latents(path string, latents *reward.Tensor, first int) []source {
	n := min(s.batch, latents.Shape[0]-first)
	size := len(latents.Data) / latents.Shape[0]
	part := *latents
	part.Shape = append([]int{n}, latents.Shape[1:]...)
	part.Data = latents.Data[first*size : (first+n)*size]

	var once sync.Once
	var images []*reward.Image
	var errs []*reward.Error
	var err error
	decode := func(ctx context.Context, i int) (*reward.Image, error) {
		once.Do(func() { images, errs, err = s.decode(ctx, &part) })
		switch {
		case err != nil:
			return nil, err
		case errs != nil && errs[i] != nil:
			return nil, errs[i]
		}
		return images[i], nil
	}
	all := make([]source, n)
	for i := range all {
		all[i] = source{
			name: path, stem: stem(path),
			load: func(ctx context.Context) (*reward.Image, error) { return decode(ctx, i) },
			grid: func(image *reward.Image) (dense.Grid, error) {
				if s.grid != "" {
					return s.gridOf(image)
				}
				height, width, err := s.decoder.Grid(part.Shape)
				return dense.Grid{Height: height, Width: width}, err
			},
		}
		if latents.Shape[0] > 1 {
			all[i].name = fmt.Sprintf("%s[%d]", path, first+i)
			all[i].stem = fmt.Sprintf("%s-%d", stem(path), first+i)
		}
	}
	return all
}

// decode decodes latents, packed tokens by the grid flag where it fits them.
func (s *sources) decode(ctx context.Context, latents *reward.Tensor) ([]*reward.Image, []*reward.Error, error) {
	if s.fits(latents) {
		grid, err := dense.ParseGrid(s.grid, 0, 0)
		if err != nil {
			return nil, nil, err
		}
		return s.decoder.DecodeTokens(ctx, latents, grid.Height, grid.Width)
	}
	return s.decoder.Decode(ctx, latents)
}
