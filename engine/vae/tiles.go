package vae

import (
	"context"
	"math"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/vae/autoencoder"
	"github.com/denseflow/densereward/internal/floats"
	"github.com/denseflow/densereward/reward"
)

// minTile is the smallest tile, in cells a side of what tiles are cut out of:
// below it most of the work goes into overlaps and no memory worth the name is
// saved.
const minTile = 32

// minOverlap is the least overlap of neighbours, in the same cells. An image's
// pixel depends on cells up to about 12 away (19 in the tiny decoders), but hardly
// on the farther ones.
const minOverlap = 12

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
	// A flat image leaves room to make its tiles wider, or higher.
	t.width = min(width, max(t.width, cells/t.height))
	t.height = min(height, max(t.height, cells/t.width))
	t.tops, t.lefts = starts(height, t.height), starts(width, t.width)
	return t
}

func (t tiling) several() bool { return len(t.tops)*len(t.lefts) > 1 }

// heightOf and widthOf are those of what is cut.
func (t tiling) heightOf() int { return t.tops[len(t.tops)-1] + t.height }

func (t tiling) widthOf() int { return t.lefts[len(t.lefts)-1] + t.width }

// starts places the fewest tiles of length tile along length cells that overlap
// by a quarter of a tile or minOverlap, evenly.
func starts(length, tile int) []int {
	if tile >= length {
		return []int{0}
	}
	overlap := min(max(tile/4, minOverlap), tile/2)
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

// owned cuts length cells into one span for each tile, from the middle of one
// overlap to the middle of the next.
func owned(starts []int, tile, length int) [][2]int {
	spans := make([][2]int, len(starts))
	for i := range starts {
		spans[i][1] = length
		if i > 0 {
			middle := (starts[i] + starts[i-1] + tile) / 2
			spans[i-1][1], spans[i][0] = middle, middle
		}
	}
	return spans
}

// canvas adds up the images of tiles.
type canvas struct {
	width, height int
	sum           []float32 // RGB
}

func newCanvas(width, height int) *canvas {
	return &canvas{width: width, height: height, sum: make([]float32, 3*width*height)}
}

// add blends in a tile (h,w,3) whose corner is at (left, top), with the shares
// of its rows and columns.
func (c *canvas) add(tile []uint8, left, top int, rows, columns []float32) {
	for y, share := range rows {
		into := c.sum[3*((top+y)*c.width+left):]
		row := tile[3*y*len(columns):]
		for x, column := range columns {
			w := column * share
			into[3*x] += w * float32(row[3*x])
			into[3*x+1] += w * float32(row[3*x+1])
			into[3*x+2] += w * float32(row[3*x+2])
		}
	}
}

func (c *canvas) image() reward.Image {
	img := reward.Image{Width: c.width, Height: c.height, Pix: make([]uint8, len(c.sum))}
	for i, v := range c.sum {
		img.Pix[i] = uint8(math.RoundToEven(float64(v)))
	}
	return img
}

// cut copies a tile out of x (C,height,width) at (left, top).
func (t tiling) cut(dst, x []float32, height, width, left, top int) {
	for c := range len(x) / (height * width) {
		for y := range t.height {
			copy(dst[(c*t.height+y)*t.width:][:t.width], x[(c*height+top+y)*width+left:])
		}
	}
}

// runTiles decodes the latents (C,h,w) of one image tile by tile and blends the
// seams. The image is nil if a tile of it is not finite.
func (d *Decoder) runTiles(ctx context.Context, latents []float32, l layout, t tiling) (*reward.Image, error) {
	decode, x, err := d.tileDecoder(ctx, latents, l, t)
	if err != nil {
		return nil, err
	}
	height, width := t.heightOf(), t.widthOf()
	scale := d.tileScale()
	c := newCanvas(width*scale, height*scale)
	rows, columns := weights(t.tops, t.height, scale), weights(t.lefts, t.width, scale)
	tile := make([]float32, len(x)/(height*width)*t.height*t.width)
	for i, top := range t.tops {
		for j, left := range t.lefts {
			t.cut(tile, x, height, width, left, top)
			out, err := decode(tile)
			if err != nil {
				return nil, err
			}
			if !floats.Finite(out[1].Float32s()) {
				return nil, nil
			}
			c.add(out[0].Uint8s(), left*scale, top*scale, rows[i], columns[j])
		}
	}
	img := c.image()
	return &img, nil
}

// tileScale is how many image pixels a side is one cell of what tiles are cut out
// of: what the decoder's global part gives.
func (d *Decoder) tileScale() int {
	_, scale := d.config.Hidden()
	return d.config.PixelScale() / scale
}

// tileDecoder prepares for the tiles of one image. It returns what tiles are cut
// out of, (C,h,w), and what decodes one, to an image (s*h,s*w,3) and the sum of
// its values.
//
// Where a decoder has a part that sees the whole image, that is run first, and
// the rest on tiles. The normalisations of an AutoencoderKL go by the image's
// statistics besides, so the rest is run once over all tiles for those before it
// is run for the image. What comes of it is nearly what the whole gives (measured
// on the decoders of the tests, 48x64 latents in tiles of 32x32: 0.16 levels off
// on average, where tiles on their own are off by 6.7); more rounds of statistics
// change little.
func (d *Decoder) tileDecoder(ctx context.Context, latents []float32, l layout, t tiling) (decode func([]float32) ([]ort.Tensor, error), x []float32, err error) {
	if !d.config.HasGlobal() {
		return func(tile []float32) ([]ort.Tensor, error) { return d.runWhole(ctx, tile, 1, t.height, t.width) }, latents, nil
	}
	global, err := d.session(autoencoder.Global)
	if err != nil {
		return nil, nil, err
	}
	hidden, err := global.Run(ctx, []ort.Tensor{ort.Float32s([]int64{1, int64(l.channels), int64(l.height), int64(l.width)}, latents)})
	if err != nil {
		return nil, nil, fixedError{err}
	}
	x = hidden[0].Float32s()
	tiles := localTiles{config: d.config, tiling: t}
	if tiles.session, err = d.session(autoencoder.Local); err != nil {
		return nil, nil, err
	}
	if norms, _ := d.config.GroupNorms(); norms > 0 {
		if tiles.given, err = tiles.measure(ctx, x); err != nil {
			return nil, nil, err
		}
	}
	return func(tile []float32) ([]ort.Tensor, error) {
		return tiles.run(ctx, tile, [4]int{0, 0, t.height, t.width})
	}, x, nil
}

// localTiles runs the local part of a decoder on tiles of an image.
type localTiles struct {
	tiling
	config  autoencoder.Config
	session runner
	given   []float32 // (K,2,G) statistics of the image, nil before they are known
}

// measure joins the statistics of all tiles of x (C,h,w).
func (u localTiles) measure(ctx context.Context, x []float32) ([]float32, error) {
	height, width := u.heightOf(), u.widthOf()
	_, groups := u.config.GroupNorms()
	tile := make([]float32, len(x)/(height*width)*u.height*u.width)
	var all []float32
	var seen float64
	rows, columns := owned(u.tops, u.height, height), owned(u.lefts, u.width, width)
	for i, top := range u.tops {
		for j, left := range u.lefts {
			u.cut(tile, x, height, width, left, top)
			box := [4]int{rows[i][0] - top, columns[j][0] - left, rows[i][1] - top, columns[j][1] - left}
			out, err := u.run(ctx, tile, box)
			if err != nil {
				return nil, err
			}
			measured := out[2].Float32s()
			share := float64((box[2] - box[0]) * (box[3] - box[1]))
			if all == nil {
				all = make([]float32, len(measured))
			}
			join(all, measured, groups, seen, share)
			seen += share
		}
	}
	return all, nil
}

// run decodes one tile (C,h,w), of which it owns the box top, left, bottom,
// right, to an image, the sum of its values and, where the decoder's
// normalisations go by them, the statistics of the box.
func (u localTiles) run(ctx context.Context, tile []float32, box [4]int) ([]ort.Tensor, error) {
	channels, _ := u.config.Hidden()
	inputs := []ort.Tensor{ort.Float32s([]int64{1, int64(channels), int64(u.height), int64(u.width)}, tile)}
	if norms, groups := u.config.GroupNorms(); norms > 0 {
		given := u.given
		if given == nil {
			given = make([]float32, norms*2*groups)
		}
		inputs = append(inputs,
			ort.Bools(nil, []bool{u.given != nil}),
			ort.Float32s([]int64{int64(norms), 2, int64(groups)}, given),
			ort.Int64s([]int64{4}, []int64{int64(box[0]), int64(box[1]), int64(box[2]), int64(box[3])}),
		)
	}
	return u.session.Run(ctx, inputs)
}

// join adds the statistics of a tile that owns the share of the image's
// cells to what the tiles before it had: mean and variance of the union of two
// sets from those of the sets (Chan, Golub and LeVeque 1979). all and tile are
// (K,2,G), seen is the share of the tiles before.
func join(all, tile []float32, groups int, seen, share float64) {
	for at := 0; at < len(all); at += 2 * groups {
		for i := at; i < at+groups; i++ {
			a, b := float64(all[i]), float64(tile[i])
			va, vb := float64(all[i+groups]), float64(tile[i+groups])
			wa, wb := seen/(seen+share), share/(seen+share)
			all[i] = float32(wa*a + wb*b)
			all[i+groups] = float32(wa*va + wb*vb + wa*wb*(a-b)*(a-b))
		}
	}
}
