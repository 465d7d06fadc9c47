package png

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"image/color"
	stdpng "image/png"
	"testing"

	"github.com/denseflow/densereward/engine/image/codec"
)

// pngFile writes a PNG file of chunks with right checksums around rows.
func pngFile(header Decoder, rows []byte) []byte {
	file := []byte(signature)
	chunk := func(name string, body []byte) {
		file = binary.BigEndian.AppendUint32(file, uint32(len(body)))
		start := len(file)
		file = append(append(file, name...), body...)
		file = binary.BigEndian.AppendUint32(file, crc32.ChecksumIEEE(file[start:]))
	}
	ihdr := binary.BigEndian.AppendUint32(nil, uint32(header.width))
	ihdr = binary.BigEndian.AppendUint32(ihdr, uint32(header.height))
	ihdr = append(ihdr, byte(header.depth), byte(header.color), 0, 0, 0)
	if header.interlaced {
		ihdr[12] = 1
	}
	chunk("IHDR", ihdr)
	if header.color == colorPalette {
		palette := make([]byte, 3<<header.depth)
		for i := range palette {
			palette[i] = byte(i * 7)
		}
		chunk("PLTE", palette)
	}
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	w.Write(rows)
	w.Close()
	chunk("IDAT", z.Bytes())
	chunk("IEND", nil)
	return file
}

// FuzzRows: rows of any content behind a valid header decode as image/png
// decodes them, and fail only on an unknown filter. (Sixteen-bit gray is left
// out: there Pillow is followed.)
func FuzzRows(f *testing.F) {
	for color := range uint8(7) {
		f.Add(color, uint8(3), true, uint8(9), uint8(5), []byte("\x04abcdefghi\x03jklm\x01nop\x02qrs"))
		f.Add(color, uint8(4), false, uint8(3), uint8(2), []byte("\x04abcdefghi\x03jklm\x01nop\x02qrs"))
	}
	f.Fuzz(func(t *testing.T, kind, depth uint8, interlaced bool, width, height uint8, content []byte) {
		h := Decoder{
			width: 1 + int(width)%70, height: 1 + int(height)%70,
			depth: 1 << (depth % 5), color: colorType(kind % 7), interlaced: interlaced,
		}
		if h.color == colorGray && h.depth == 16 {
			return
		}
		var rows []byte
		valid := true
		for _, pass := range h.passes() {
			for range pass.height {
				row := make([]byte, 1+h.rowBytes(pass.width))
				content = content[copy(row, content):]
				valid = valid && row[0] <= 4
				rows = append(rows, row...)
			}
		}
		file := pngFile(h, rows)
		want, wantErr := stdpng.Decode(bytes.NewReader(file))
		img, err := new(Decoder).Decode(file, codec.Limits{}, codec.NewImage)
		if (err == nil) != (wantErr == nil) || wantErr == nil && !valid {
			t.Fatalf("ours: %v; image/png: %v; valid filters: %v", err, wantErr, valid)
		}
		if err != nil {
			return
		}
		for y := range img.Height {
			for x := range img.Width {
				c := withoutAlpha(want.At(x, y))
				p := img.Pix[(y*img.Width+x)*3:]
				if p[0] != c.R || p[1] != c.G || p[2] != c.B {
					t.Fatalf("pixel (%d,%d) is %v, want %v", x, y, p[:3], c)
				}
			}
		}
	})
}

// withoutAlpha is c as 8 bits a channel, whatever its alpha. color.NRGBAModel
// would go through premultiplied values and lose what is transparent.
func withoutAlpha(c color.Color) color.NRGBA {
	if c, ok := c.(color.NRGBA64); ok {
		return color.NRGBA{R: uint8(c.R >> 8), G: uint8(c.G >> 8), B: uint8(c.B >> 8)}
	}
	return color.NRGBAModel.Convert(c).(color.NRGBA)
}
