package vae

import (
	"math"
	"testing"
)

func TestSharesOfTilesAddUpToOne(t *testing.T) {
	for length := 1; length <= 90; length++ {
		for tile := 32; tile <= 56; tile += 3 {
			at := starts(length, min(tile, length))
			size := min(tile, length)
			for _, scale := range []int{1, 8} {
				total := make([]float64, length*scale)
				tiles := make([]int, length*scale)
				for i, shares := range weights(at, size, scale) {
					for p, share := range shares {
						if share < 0 || share > 1 {
							t.Fatalf("%d cells in tiles of %d: a share of %v", length, tile, share)
						}
						total[at[i]*scale+p] += float64(share)
						if share > 0 {
							tiles[at[i]*scale+p]++
						}
					}
				}
				for p, sum := range total {
					if math.Abs(sum-1) > 1e-6 || tiles[p] > 2 {
						t.Fatalf("%d cells in tiles of %d at %v: position %d has %v of %d tiles", length, tile, at, p, sum, tiles[p])
					}
				}
			}
		}
	}
}

func TestTilesCoverTheLatentsWithinTheLimit(t *testing.T) {
	for _, c := range []struct{ height, width, cells, several int }{
		{64, 64, 64 * 64, 1}, {64, 64, 63 * 64, 2}, {128, 128, 64 * 64, 9}, {16, 400, 32 * 32, 8}, {400, 16, 32 * 32, 8},
		{30, 30, 1, 1}, {40, 40, 1, 4}, {8, 300, 24 * 24, 6},
	} {
		tiles := tilingOf(c.height, c.width, c.cells)
		if n := len(tiles.tops) * len(tiles.lefts); n != c.several {
			t.Errorf("%dx%d in tiles of %d cells: %d tiles of %dx%d at %v, %v; want %d",
				c.height, c.width, c.cells, n, tiles.height, tiles.width, tiles.tops, tiles.lefts, c.several)
		}
		if tiles.height*tiles.width > max(c.cells, minTile*minTile) {
			t.Errorf("%dx%d: a tile has %dx%d cells, limit %d", c.height, c.width, tiles.height, tiles.width, c.cells)
		}
		if last := tiles.tops[len(tiles.tops)-1] + tiles.height; last != c.height {
			t.Errorf("%dx%d: the tiles end at row %d", c.height, c.width, last)
		}
		if last := tiles.lefts[len(tiles.lefts)-1] + tiles.width; last != c.width {
			t.Errorf("%dx%d: the tiles end at column %d", c.height, c.width, last)
		}
	}
}
