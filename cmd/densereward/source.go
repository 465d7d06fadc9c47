package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/engine/image"
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
	files   *image.Decoder
	decoder reward.LatentDecoder // nil without --vae
	grid    string               // of the dense maps; "" follows the file
	batch   int                  // latents decoded at a time
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
			return image, err
		},
		grid: func(image *reward.Image) (dense.Grid, error) { return s.gridOf(image) },
	}
}

// gridOf is the grid by the flag, or that of the decoder's model, for the size of
// an image.
func (s *sources) gridOf(image *reward.Image) (dense.Grid, error) {
	if s.grid == "" && s.decoder != nil {
		if scale := s.decoder.Describe().GridScale; scale > 0 {
			return dense.CellGrid(scale, image.Height, image.Width)
		}
	}
	return dense.ParseGrid(cmp.Or(s.grid, defaultGrid), image.Height, image.Width)
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
	if _, err := s.layout(latents); err != nil {
		return nil, err
	}
	if latents.Shape[0] == 0 {
		return nil, fmt.Errorf("no latents: shape %v", latents.Shape)
	}
	return latents, nil
}

// tokens is the grid of packed tokens by the flag, where it fits them.
func (s *sources) tokens(latents *reward.Tensor) (height, width int) {
	grid, err := dense.ParseGrid(s.grid, 0, 0)
	if err != nil || len(latents.Shape) != 3 || grid.Cells() != latents.Shape[1] {
		return 0, 0
	}
	return grid.Height, grid.Width
}

func (s *sources) layout(latents *reward.Tensor) (reward.LatentLayout, error) {
	height, width := s.tokens(latents)
	return s.decoder.Layout(latents.Shape, height, width)
}

// latents is the sources of a file's samples from first on, as many as are
// decoded together, which happens when the first of them is asked for.
func (s *sources) latents(path string, latents *reward.Tensor, first int) []source {
	n := min(s.batch, latents.Shape[0]-first)
	part := latents.Part(first, first+n)
	var once sync.Once
	var images []*reward.Image
	var errs []*reward.Error
	var err error
	decode := func(ctx context.Context, i int) (*reward.Image, error) {
		once.Do(func() {
			height, width := s.tokens(part)
			images, errs, err = s.decoder.Decode(ctx, part, height, width)
		})
		switch {
		case err != nil:
			return nil, err
		case errs != nil && errs[i] != nil:
			return nil, errs[i]
		}
		image := images[i]
		images[i] = nil // who asks once need not share it
		return image, nil
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
				layout, err := s.layout(part)
				return dense.Grid{Height: layout.GridHeight, Width: layout.GridWidth}, err
			},
		}
		if latents.Shape[0] > 1 {
			all[i].name = fmt.Sprintf("%s[%d]", path, first+i)
			all[i].stem = fmt.Sprintf("%s-%d", stem(path), first+i)
		}
	}
	return all
}
