package vae

import (
	"context"
	"math"

	"github.com/denseflow/densereward/reward"
)

// minTile is the smallest tile, in latent cells a side: below it the seams and
// the group statistics of the decoder get bad and nothing is saved.
const minTile = 16

// tiling cuts latents into tiles of one size that overlap their neighbours.
type tiling struct {
	height, width int // of a tile, in cells
	tops, lefts   []int
}

// tilingOf cuts latents of height x width cells into tiles of at most so many
// cells, and of at least minTile a side.
func tilingOf(height, width, cells int) tiling {
	side := max(minTile, int(math.Sqrt(float64(cells))))
	t := tiling{height: min(height, side), width: min(width, side)}
	// A flat picture leaves room to make its tiles wider, or higher.
	t.width = min(width, max(t.width, cells/t.height))
	t.height = min(height, max(t.height, cells/t.width))
	t.tops, t.lefts = starts(height, t.height), starts(width, t.width)
	return t
}

func (t tiling) several() bool { return len(t.tops)*len(t.lefts) > 1 }

// starts places the fewest tiles of length tile along length cells that overlap
// by a quarter of a tile or more, evenly.
func starts(length, tile int) []int {
	if tile >= length {
		return []int{0}
	}
	overlap := max(1, tile/4)
	n := (length - overlap + tile - overlap - 1) / (tile - overlap)
	at := make([]int, n)
	for i := range at {
		at[i] = (i*(length-tile) + (n-1)/2) / (n - 1)
	}
	return at
}

// weights are the shares that the tiles at starts have in each of length
// positions, scale positions a cell: the share of tile i at position p of the
// tile is weights[i][p]. Shares of all tiles at a position add up to 1. Within
// an overlap a tile's share falls linearly, but for the outer eighth on either
// side, where the tile whose edge is near has none: what lies beyond its edge
// was zeros to it. An overlap of more than half a tile ends earlier still, so
// that no position has shares of three tiles.
func weights(starts []int, tile, scale int) [][]float32 {
	shares := make([][]float32, len(starts))
	for i := range starts {
		shares[i] = make([]float32, tile*scale)
		for p := range shares[i] {
			shares[i][p] = 1
		}
	}
	for i := 1; i < len(starts); i++ {
		overlap := (starts[i-1] + tile - starts[i]) * scale
		margin := max(overlap/8, overlap-tile*scale/2)
		before := shares[i-1][len(shares[i-1])-overlap:]
		for p := range overlap {
			ramp := (float32(p-margin) + 0.5) / float32(overlap-2*margin)
			ramp = min(max(ramp, 0), 1)
			shares[i][p] *= ramp
			before[p] *= 1 - ramp
		}
	}
	return shares
}

// runTiles decodes the latents (C,h,w) of one picture tile by tile and blends
// the seams.
func (d *Decoder) runTiles(ctx context.Context, latents []float32, l layout, t tiling) (reward.Image, error) {
	scale := d.config.PixelScale()
	width, height := l.width*scale, l.height*scale
	sum := make([]float32, width*height*3)
	rows, columns := weights(t.tops, t.height, scale), weights(t.lefts, t.width, scale)
	cut := make([]float32, l.channels*t.height*t.width)
	for i, top := range t.tops {
		for j, left := range t.lefts {
			for c := range l.channels {
				for y := range t.height {
					from := (c*l.height+top+y)*l.width + left
					copy(cut[(c*t.height+y)*t.width:][:t.width], latents[from:])
				}
			}
			tile, err := d.runWhole(ctx, cut, 1, t.height, t.width)
			if err != nil {
				return reward.Image{}, err
			}
			for y, share := range rows[i] {
				into := sum[((top*scale+y)*width+left*scale)*3:]
				blend(into, tile[y*t.width*scale*3:], columns[j], share)
			}
		}
	}
	img := reward.Image{Width: width, Height: height, Pix: make([]uint8, len(sum))}
	for i, v := range sum {
		img.Pix[i] = uint8(math.RoundToEven(float64(v)))
	}
	return img, nil
}

// blend adds a row of a tile to the picture.
func blend(sum []float32, row []uint8, columns []float32, share float32) {
	for x, column := range columns {
		w := column * share
		sum[3*x] += w * float32(row[3*x])
		sum[3*x+1] += w * float32(row[3*x+1])
		sum[3*x+2] += w * float32(row[3*x+2])
	}
}
