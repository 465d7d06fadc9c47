// Package png decodes PNG files to the bytes that Pillow gives, and makes PNG
// files.
package png

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/denseflow/densereward/engine/image/codec"
	"github.com/denseflow/densereward/reward"
)

const signature = "\x89PNG\r\n\x1a\n"

// colorType is the colour type of a file.
type colorType uint8

const (
	colorGray      colorType = 0
	colorRGB       colorType = 2
	colorPalette   colorType = 3
	colorGrayAlpha colorType = 4
	colorRGBA      colorType = 6
)

// samples is the number of samples of a pixel, 0 if there is no such type.
func (c colorType) samples() int {
	switch c {
	case colorGray, colorPalette:
		return 1
	case colorGrayAlpha:
		return 2
	case colorRGB:
		return 3
	case colorRGBA:
		return 4
	}
	return 0
}

// Decoder decodes PNG files, one at a time, and keeps memory between them. Of an
// animated PNG it decodes the image that a decoder without animation shows.
//
// Colours become what Pillow's convert("RGB") makes of them: alpha and tRNS are
// dropped, not blended; gamma and profiles are ignored; 16-bit samples lose
// their lower byte, but those of 16-bit gray without alpha, which Pillow takes
// for integers, become 255 where they are more.
//
// The zero value is ready. A Decoder is not safe for concurrent use.
type Decoder struct {
	data []byte
	pos  int

	width, height int
	depth         int // bits a sample
	color         colorType
	interlaced    bool
	palette       [256][3]uint8

	compressed []byte
	inflater   inflater
	raw        []byte // filtered rows, each behind its filter type
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: png: %w", codec.ErrCorrupt, fmt.Errorf(format, args...))
}

// Sniff reports whether data begins like a PNG file.
func Sniff(data []byte) bool { return bytes.HasPrefix(data, []byte(signature)) }

// Size reads the size that a PNG file declares.
func Size(data []byte, limits codec.Limits) (width, height int, err error) {
	p := Decoder{data: data, pos: len(signature)}
	err = p.readHeader(limits)
	return p.width, p.height, err
}

// Decode decodes data, which begins like a PNG file, to an image from alloc.
func (p *Decoder) Decode(data []byte, limits codec.Limits, alloc codec.Alloc) (*reward.Image, error) {
	defer func() { p.data = nil }()
	p.data, p.pos = data, len(signature)
	p.compressed = p.compressed[:0]
	if err := p.readHeader(limits); err != nil {
		return nil, err
	}
	if err := p.readChunks(); err != nil {
		return nil, err
	}
	size := 0
	for _, pass := range p.passes() {
		size += pass.height * (1 + p.rowBytes(pass.width))
	}
	// Deflate makes at most 258 bytes of two bits: a file that declares more is
	// refused before memory is taken for it.
	if size > len(p.compressed)*1032 {
		return nil, corrupt("%d bytes of compressed data for %d bytes of pixels", len(p.compressed), size)
	}
	raw := codec.Grow(&p.raw, size)
	if err := p.inflater.inflate(raw, p.compressed); err != nil {
		return nil, corrupt("%w", err)
	}
	return p.draw(alloc(p.width, p.height), raw)
}

// chunk returns the name and content of the next chunk.
func (p *Decoder) chunk() (name string, body []byte, err error) {
	rest := p.data[p.pos:]
	if len(rest) < 12 {
		return "", nil, corrupt("the file ends at byte %d, within the chunks", len(p.data))
	}
	n := int64(binary.BigEndian.Uint32(rest))
	name = string(rest[4:8])
	if n > int64(len(rest)-12) {
		return "", nil, corrupt("chunk %q of %d bytes, %d left", name, n, len(rest)-12)
	}
	end := 8 + int(n)
	if crc32.ChecksumIEEE(rest[4:end]) != binary.BigEndian.Uint32(rest[end:]) {
		return "", nil, corrupt("chunk %q: checksum does not match", name)
	}
	p.pos += end + 4
	return name, rest[8:end], nil
}

// readHeader reads IHDR. The size is checked here, before anything is allocated
// for it.
func (p *Decoder) readHeader(limits codec.Limits) error {
	name, b, err := p.chunk()
	if err != nil {
		return err
	}
	if name != "IHDR" || len(b) != 13 {
		return corrupt("first chunk is %q of %d bytes, want IHDR of 13", name, len(b))
	}
	width, height := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if width>>31 != 0 || height>>31 != 0 {
		return corrupt("size %dx%d", width, height)
	}
	p.width, p.height = int(width), int(height)
	if err := limits.Check(p.width, p.height); err != nil {
		return fmt.Errorf("png: %w", err)
	}
	p.depth, p.color, p.interlaced = int(b[8]), colorType(b[9]), b[12] == 1
	valid := false
	switch p.color {
	case colorGray:
		valid = p.depth == 1 || p.depth == 2 || p.depth == 4 || p.depth == 8 || p.depth == 16
	case colorPalette:
		valid = p.depth == 1 || p.depth == 2 || p.depth == 4 || p.depth == 8
	case colorRGB, colorGrayAlpha, colorRGBA:
		valid = p.depth == 8 || p.depth == 16
	}
	if !valid || b[10] != 0 || b[11] != 0 || b[12] > 1 {
		return corrupt("colour type %d of %d bits, compression %d, filter %d, interlace %d",
			b[9], b[8], b[10], b[11], b[12])
	}
	return nil
}

// readChunks reads the chunks up to the end of the image.
func (p *Decoder) readChunks() error {
	havePalette, after := false, false // after: past the last IDAT
	for {
		name, body, err := p.chunk()
		switch {
		case err != nil:
			return err
		case name == "IDAT":
			if after {
				return corrupt("IDAT chunks are not consecutive")
			}
			p.compressed = append(p.compressed, body...)
			continue
		case name == "PLTE":
			if len(body) == 0 || len(body) > 3*256 || len(body)%3 != 0 {
				return corrupt("palette of %d bytes", len(body))
			}
			p.setPalette(body)
			havePalette = true
		case name == "IEND":
			if p.color == colorPalette && !havePalette {
				return corrupt("no palette")
			}
			return nil
		case name[0]&0x20 == 0:
			return corrupt("chunk %q is critical and unknown", name)
		}
		after = len(p.compressed) > 0
	}
}

// setPalette fills the palette. Entries that the file lacks but may use are
// gray, as in Pillow.
func (p *Decoder) setPalette(body []byte) {
	for i := range p.palette {
		if 3*i < len(body) {
			p.palette[i] = [3]uint8(body[3*i:])
		} else {
			p.palette[i] = [3]uint8{uint8(i), uint8(i), uint8(i)}
		}
	}
}

// interlacePass is a pass of an interlaced file: the pixels (x0+i*dx, y0+j*dy).
type interlacePass struct{ x0, y0, dx, dy, width, height int }

// passes returns the passes that have pixels; one if not interlaced.
func (p *Decoder) passes() []interlacePass {
	if !p.interlaced {
		return []interlacePass{{0, 0, 1, 1, p.width, p.height}}
	}
	var passes []interlacePass
	for _, a := range [7]interlacePass{
		{x0: 0, y0: 0, dx: 8, dy: 8}, {x0: 4, y0: 0, dx: 8, dy: 8}, {x0: 0, y0: 4, dx: 4, dy: 8},
		{x0: 2, y0: 0, dx: 4, dy: 4}, {x0: 0, y0: 2, dx: 2, dy: 4}, {x0: 1, y0: 0, dx: 2, dy: 2},
		{x0: 0, y0: 1, dx: 1, dy: 2},
	} {
		a.width = (p.width - a.x0 + a.dx - 1) / a.dx
		a.height = (p.height - a.y0 + a.dy - 1) / a.dy
		if a.width > 0 && a.height > 0 {
			passes = append(passes, a)
		}
	}
	return passes
}

// rowBytes is the number of bytes of a row of width pixels.
func (p *Decoder) rowBytes(width int) int {
	return (width*p.color.samples()*p.depth + 7) / 8
}
