// Package jpeg decodes JPEG files to the bytes that libjpeg gives, in Go, and with
// AVX2 where the processor has it.
package jpeg

import (
	"bytes"
	"fmt"

	"github.com/denseflow/densereward/engine/image/codec"
	"github.com/denseflow/densereward/reward"
)

// Decoder decodes JPEG files, one at a time, exactly as libjpeg does with its
// default settings: the "islow" integer IDCT, triangular chroma upsampling and
// 16-bit fixed-point colour conversion. Baseline, extended and progressive
// Huffman files of 8 bits are decoded.
//
// Where libjpeg warns about broken entropy-coded data and goes on, this gives
// codec.ErrCorrupt. The terms are those of ITU-T T.81.
//
// A Decoder keeps its tables and planes between files. The zero value is ready;
// it is not safe for concurrent use.
type Decoder struct {
	data     []byte
	pos      int  // of the next byte that is not part of a scan
	sizeOnly bool // stop at the frame header
	scalar   bool // without the processor's vector instructions

	width, height int
	progressive   bool
	components    []component
	maxH, maxV    int // largest sampling factors
	mcusX, mcusY  int // MCUs of an interleaved scan

	quant    [4]quantTable
	interval int // MCUs between restart markers, 0 for none
	scans    int

	jfif, adobe    bool
	adobeTransform uint8

	bits      bitReader
	endOfBand int       // blocks to come without coefficients in the band
	block     [64]int32 // dequantised coefficients of a block; zeros between blocks

	memory scratch
}

// quantTable is a quantisation table in zigzag order.
type quantTable struct {
	set   bool
	value [64]int32
}

// component is a colour component of the frame.
type component struct {
	id     uint8
	index  int // among the frame's components
	h, v   int // sampling factors
	tq     uint8
	width  int // samples that count; the rest of the plane is padding
	height int

	blocksX, blocksY int // blocks that count
	stride           int // of samples and rows of blocks: whole MCUs
	rows             int
	samples          []uint8
	coefficients     []coefficients // of progressive files

	quant *quantTable // latched by the component's first scan
	known [64]int8    // low bits still missing per coefficient, -1 for all

	pred   int32 // DC prediction
	dc, ac *huffmanTable
}

type coefficients [64]int16

// maxScans bounds the scans of a file. Encoders write about ten. A scan of
// a few bytes can make the decoder visit every block of a large image.
const maxScans = 100

// slack is how far before and behind a row vector instructions may read, and
// how far behind they may write.
const slack = 32

// scratch is what is worth keeping between files.
type scratch struct {
	samples      [4][]uint8
	coefficients [4][]coefficients
	rows         [4][]uint8 // upsampled
	sums         [4][]int16
	interval     []byte // entropy-coded data up to the next marker
	huffman      *huffmanTables
}

// huffmanTables are the Huffman tables, 102 KB, of a file.
type huffmanTables struct{ dc, ac [4]huffmanTable }

// huffman is the tables of the file, made when they are first needed.
func (j *Decoder) huffman() *huffmanTables {
	if j.memory.huffman == nil {
		j.memory.huffman = new(huffmanTables)
	}
	return j.memory.huffman
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: jpeg: %s", codec.ErrCorrupt, fmt.Sprintf(format, args...))
}

func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: jpeg: %s", codec.ErrUnsupported, fmt.Sprintf(format, args...))
}

// reset prepares j for a file and keeps its memory.
func (j *Decoder) reset(data []byte) {
	*j = Decoder{data: data, scalar: j.scalar, memory: j.memory, components: j.components[:0]}
	if t := j.memory.huffman; t != nil {
		for i := range t.dc {
			t.dc[i].set, t.ac[i].set = false, false
		}
	}
}

// vectors reports whether the processor's vector instructions are used.
func (j *Decoder) vectors() bool { return !j.scalar && hasVectors() }

// Sniff reports whether data begins like a JPEG file.
func Sniff(data []byte) bool { return bytes.HasPrefix(data, []byte("\xff\xd8\xff")) }

// Size reads the size that a JPEG file declares in its frame header.
func Size(data []byte, limits codec.Limits) (width, height int, err error) {
	j := Decoder{data: data, sizeOnly: true}
	err = j.read(limits, nil)
	return j.width, j.height, err
}

// Decode decodes data, which begins like a JPEG file, to an image from alloc.
func (j *Decoder) Decode(data []byte, limits codec.Limits, alloc codec.Alloc) (*reward.Image, error) {
	j.reset(data)
	defer func() { j.data = nil }()
	if err := j.read(limits, j.decodeScan); err != nil {
		return nil, err
	}
	if j.progressive {
		for i := range j.components {
			j.reconstruct(&j.components[i])
		}
	}
	img := alloc(j.width, j.height)
	j.convert(img)
	return img, nil
}

// read goes through the segments up to the end of the image and calls scan for
// each scan, with pos at its entropy-coded data.
func (j *Decoder) read(limits codec.Limits, scan func([]*component, scanBand) error) error {
	for {
		marker, err := j.nextMarker()
		if err != nil {
			return err
		}
		switch {
		case marker == 0xd9: // EOI
			return j.complete()
		case marker == 0xd8 || marker == 0x01 || marker >= 0xd0 && marker <= 0xd7:
			continue // SOI, TEM and RSTn have no content
		}
		body, err := j.segment()
		if err != nil {
			return err
		}
		switch {
		case marker == 0xc4:
			err = j.readHuffman(body)
		case marker == 0xdb:
			err = j.readQuant(body)
		case marker == 0xdd:
			err = j.readInterval(body)
		case marker == 0xc0 || marker == 0xc1 || marker == 0xc2:
			err = j.readFrame(body, marker == 0xc2, limits)
			if j.sizeOnly {
				return err
			}
		case marker == 0xda:
			var selected []*component
			var band scanBand
			if selected, band, err = j.readScan(body); err == nil {
				err = scan(selected, band)
			}
		case marker >= 0xc3 && marker <= 0xcf && marker != 0xc8 && marker != 0xcc:
			err = unsupported("frame type SOF%d", marker-0xc0)
		case marker == 0xe0:
			j.jfif = j.jfif || len(body) >= 14 && string(body[:5]) == "JFIF\x00"
		case marker == 0xee:
			j.readAdobe(body)
		}
		if err != nil {
			return err
		}
	}
}

// nextMarker finds the next marker. Bytes that belong to none are skipped, as
// libjpeg does with a warning.
func (j *Decoder) nextMarker() (byte, error) {
	for j.pos+1 < len(j.data) {
		if j.data[j.pos] == 0xff && j.data[j.pos+1] != 0 && j.data[j.pos+1] != 0xff {
			j.pos += 2
			return j.data[j.pos-1], nil
		}
		j.pos++
	}
	return 0, corrupt("the file ends at byte %d without an end-of-image marker", len(j.data))
}

// segment returns the body of the segment at pos and steps over it.
func (j *Decoder) segment() ([]byte, error) {
	if j.pos+2 > len(j.data) {
		return nil, corrupt("the file ends within a segment header")
	}
	n := int(j.data[j.pos])<<8 | int(j.data[j.pos+1])
	if n < 2 || n > len(j.data)-j.pos {
		return nil, corrupt("segment length %d at byte %d, %d bytes left", n, j.pos, len(j.data)-j.pos)
	}
	body := j.data[j.pos+2 : j.pos+n]
	j.pos += n
	return body, nil
}

func (j *Decoder) readQuant(body []byte) error {
	for len(body) > 0 {
		id, wide := body[0]&15, body[0]>>4
		if id > 3 || wide > 1 {
			return corrupt("quantisation table %d of precision %d", id, wide)
		}
		size := 64 * (1 + int(wide))
		if len(body) < 1+size {
			return corrupt("quantisation table of %d bytes, want %d", len(body)-1, size)
		}
		q := &j.quant[id]
		q.set = true
		for i := range q.value {
			if wide == 0 {
				q.value[i] = int32(body[1+i])
			} else {
				q.value[i] = int32(body[1+2*i])<<8 | int32(body[2+2*i])
			}
		}
		body = body[1+size:]
	}
	return nil
}

func (j *Decoder) readInterval(body []byte) error {
	if len(body) != 2 {
		return corrupt("restart interval of %d bytes", len(body))
	}
	j.interval = int(body[0])<<8 | int(body[1])
	return nil
}

// readAdobe reads the APP14 segment in which Adobe's encoders say how the
// components make a colour.
func (j *Decoder) readAdobe(body []byte) {
	if len(body) >= 12 && string(body[:5]) == "Adobe" {
		j.adobe, j.adobeTransform = true, body[11]
	}
}

// readFrame reads a frame header. The size is checked here, before anything is
// allocated for it.
func (j *Decoder) readFrame(body []byte, progressive bool, limits codec.Limits) error {
	switch {
	case len(j.components) > 0:
		return corrupt("two frame headers")
	case len(body) < 6 || len(body) != 6+3*int(body[5]):
		return corrupt("frame header of %d bytes", len(body))
	case body[0] != 8:
		return unsupported("%d bits a sample", body[0])
	case body[5] != 1 && body[5] != 3 && body[5] != 4:
		return unsupported("%d components", body[5])
	}
	j.progressive = progressive
	j.height = int(body[1])<<8 | int(body[2])
	j.width = int(body[3])<<8 | int(body[4])
	if err := limits.Check(j.width, j.height); err != nil {
		return fmt.Errorf("jpeg: %w", err)
	}
	for i := 6; i < len(body); i += 3 {
		c := component{id: body[i], index: len(j.components), h: int(body[i+1] >> 4), v: int(body[i+1] & 15), tq: body[i+2]}
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 || c.tq > 3 {
			return corrupt("component %d: sampling %dx%d, quantisation table %d", c.id, c.h, c.v, c.tq)
		}
		for k := range c.known {
			c.known[k] = -1
		}
		j.components = append(j.components, c)
		j.maxH, j.maxV = max(j.maxH, c.h), max(j.maxV, c.v)
	}
	return j.layOut()
}

// layOut computes the sizes of the components' planes.
func (j *Decoder) layOut() error {
	j.mcusX = ceilDiv(j.width, 8*j.maxH)
	j.mcusY = ceilDiv(j.height, 8*j.maxV)
	for i := range j.components {
		c := &j.components[i]
		if j.maxH%c.h != 0 || j.maxV%c.v != 0 {
			return unsupported("component %d: sampling %dx%d of %dx%d", c.id, c.h, c.v, j.maxH, j.maxV)
		}
		c.width, c.height = ceilDiv(j.width*c.h, j.maxH), ceilDiv(j.height*c.v, j.maxV)
		c.blocksX, c.blocksY = ceilDiv(c.width, 8), ceilDiv(c.height, 8)
		c.stride, c.rows = j.mcusX*c.h*8, j.mcusY*c.v*8
	}
	return nil
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// complete checks at the end of the image that nothing is missing from it.
// libjpeg shows unfinished progressive files smoothed.
func (j *Decoder) complete() error {
	if len(j.components) == 0 {
		return corrupt("no frame header")
	}
	for i := range j.components {
		c := &j.components[i]
		for k, missing := range c.known {
			if missing != 0 {
				return corrupt("component %d: coefficient %d is not complete", c.id, k)
			}
		}
	}
	return nil
}

// plane returns the component's samples, allocated on first use.
func (j *Decoder) plane(c *component) []uint8 {
	if c.samples == nil {
		c.samples = codec.Grow(&j.memory.samples[c.index], slack+c.stride*c.rows+slack)[slack:]
	}
	return c.samples
}

// allCoefficients returns the component's coefficients, allocated and cleared
// on first use.
func (j *Decoder) allCoefficients(c *component) []coefficients {
	if c.coefficients == nil {
		c.coefficients = codec.Grow(&j.memory.coefficients[c.index], c.stride/8*c.rows/8)
		clear(c.coefficients)
	}
	return c.coefficients
}
