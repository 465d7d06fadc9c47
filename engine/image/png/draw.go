package png

import (
	"encoding/binary"

	"github.com/denseflow/densereward/reward"
)

// draw undoes the filters of the rows in raw and converts them
// to RGB in img.
func (p *Decoder) draw(img *reward.Image, raw []byte) (*reward.Image, error) {
	pixel := max(1, p.color.samples()*p.depth/8) // bytes
	plain := p.color == colorRGB && p.depth == 8 && !p.interlaced
	for _, pass := range p.passes() {
		n := p.rowBytes(pass.width)
		above := make([]byte, n)
		for y := range pass.height {
			filter, row := raw[0], raw[1:1+n]
			raw = raw[1+n:]
			if filter > 4 {
				return nil, corrupt("row %d: filter type %d", y, filter)
			}
			line := img.Pix[(pass.y0+y*pass.dy)*p.width*3:][:p.width*3]
			if plain {
				// The image itself is where the rows are unfiltered.
				unfilter(filter, line, row, above, pixel)
				above = line
				continue
			}
			unfilter(filter, row, row, above, pixel)
			above = row
			p.expand(line[pass.x0*3:], row, pass.dx*3, pass.width)
		}
	}
	return img, nil
}

// expand writes the width pixels of row to every step-th byte of line.
func (p *Decoder) expand(line, row []byte, step, width int) {
	put := func(i int, r, g, b uint8) {
		out := line[i*step:][:3:3]
		out[0], out[1], out[2] = r, g, b
	}
	switch {
	case p.depth < 8:
		levels := 255 / (1<<p.depth - 1)
		for i := range width {
			bit := i * p.depth
			v := row[bit/8] >> (8 - p.depth - bit%8) & (1<<p.depth - 1)
			if p.color == colorPalette {
				c := &p.palette[v]
				put(i, c[0], c[1], c[2])
			} else {
				v *= uint8(levels)
				put(i, v, v, v)
			}
		}
	case p.color == colorPalette:
		for i, v := range row {
			c := &p.palette[v]
			put(i, c[0], c[1], c[2])
		}
	case p.color == colorGray && p.depth == 16:
		for i := range width {
			v := uint8(min(binary.BigEndian.Uint16(row[2*i:]), 255))
			put(i, v, v, v)
		}
	default:
		// The upper bytes of the samples.
		sample := p.depth / 8
		pixel := p.color.samples() * sample
		green, blue := sample, 2*sample
		if p.color == colorGray || p.color == colorGrayAlpha {
			green, blue = 0, 0
		}
		for i := range width {
			v := row[i*pixel:][:pixel:pixel]
			put(i, v[0], v[green], v[blue])
		}
	}
}
