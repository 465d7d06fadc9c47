package main

import (
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"

	"github.com/denseflow/densereward/internal/loadgen"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
)

// side is the width and height of the photographs.
const side = 512

// photographs are two images in eight orientations each.
type photographs []*reward.Image

func readPhotographs(dir string) (photographs, error) {
	var all photographs
	for _, name := range []string{"astronaut.png", "coffee.png"} {
		im, err := readPNG(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		square := mirrored(im)
		for orientation := range 8 {
			all = append(all, turned(square, orientation))
		}
	}
	return all, nil
}

func readPNG(path string) (*reward.Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("photographs: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	var im image.Image
	if im, err = png.Decode(f); err != nil {
		return nil, fmt.Errorf("photographs: %s: %w", path, err)
	}
	return loadgen.FromImage(im), nil
}

// mirrored is a square of an image, continued by its mirror image where it is
// too small.
func mirrored(im *reward.Image) *reward.Image {
	reflect := func(i, n int) int {
		if i %= 2 * n; i >= n {
			i = 2*n - 1 - i
		}
		return i
	}
	return square(func(x, y int) []uint8 { return at(im, reflect(x, im.Width), reflect(y, im.Height)) })
}

// turned is a square in one of its eight orientations.
func turned(im *reward.Image, orientation int) *reward.Image {
	return square(func(x, y int) []uint8 {
		if orientation&1 != 0 {
			x = side - 1 - x
		}
		if orientation&2 != 0 {
			y = side - 1 - y
		}
		if orientation&4 != 0 {
			x, y = y, x
		}
		return at(im, x, y)
	})
}

func at(im *reward.Image, x, y int) []uint8 {
	i := 3 * (y*im.Width + x)
	return im.Pix[i : i+3]
}

func square(colour func(x, y int) []uint8) *reward.Image {
	im := &reward.Image{Width: side, Height: side, Pix: make([]uint8, 0, 3*side*side)}
	for y := range side {
		for x := range side {
			im.Pix = append(im.Pix, colour(x, y)...)
		}
	}
	return im
}

func (p photographs) encode(form loadgen.Form) ([]wire.Image, error) {
	var images []wire.Image
	for _, im := range p {
		one, err := loadgen.Encode(im, form)
		if err != nil {
			return nil, err
		}
		images = append(images, one)
	}
	return images, nil
}
