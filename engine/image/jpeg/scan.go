package jpeg

import (
	"errors"
	"fmt"

	"github.com/denseflow/densereward/engine/image/codec"
)

// scanBand is the part of the coefficients that a scan brings: those from first
// to last in zigzag order, and of these the bits from low up, where the bits
// from high up came before. high is 0 when none did.
type scanBand struct {
	first, last int
	high, low   uint
}

// zigzag gives the place of each coefficient in its block. The entries past 63
// take what a broken file puts there; 79 is the last such place.
var zigzag = [128]uint8{
	0, 1, 8, 16, 9, 2, 3, 10,
	17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34,
	27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36,
	29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46,
	53, 60, 61, 54, 47, 55, 62, 63,
	63, 63, 63, 63, 63, 63, 63, 63,
	63, 63, 63, 63, 63, 63, 63, 63,
}

func (j *Decoder) readScan(body []byte) ([]*component, scanBand, error) {
	var band scanBand
	if len(j.components) == 0 {
		return nil, band, corrupt("a scan before the frame header")
	}
	if j.scans++; j.scans > maxScans {
		return nil, band, corrupt("more than %d scans", maxScans)
	}
	if len(body) < 1 || body[0] < 1 || body[0] > 4 || len(body) != 4+2*int(body[0]) {
		return nil, band, corrupt("scan header of %d bytes", len(body))
	}
	n := int(body[0])
	tail := body[1+2*n:]
	band = scanBand{int(tail[0]), int(tail[1]), uint(tail[2] >> 4), uint(tail[2] & 15)}
	if !j.progressive {
		band = scanBand{0, 63, 0, 0} // what the header says has no meaning
	}
	var selected []*component
	blocks := 0
	for i := range n {
		c, err := j.selectComponent(body[1+2*i], body[2+2*i], band)
		if err != nil {
			return nil, band, err
		}
		for _, other := range selected {
			if other == c {
				return nil, band, corrupt("component %d twice in a scan", c.id)
			}
		}
		selected = append(selected, c)
		blocks += c.h * c.v
	}
	if n > 1 && blocks > 10 {
		return nil, band, corrupt("%d blocks in an MCU", blocks)
	}
	if err := j.advance(selected, band); err != nil {
		return nil, band, err
	}
	return selected, band, j.enough(selected, band)
}

// enough refuses a scan whose data cannot be all of it, before memory is taken
// for the blocks: a DC coefficient takes at least a bit, and so do a sequential
// scan's AC coefficients.
func (j *Decoder) enough(selected []*component, band scanBand) error {
	bits := 0
	for _, c := range selected {
		bits += c.blocksX * c.blocksY
	}
	if !j.progressive {
		bits *= 2
	}
	if have := len(j.data) - j.pos; band.first == 0 && have < bits/8 {
		return corrupt("%d bytes left for a scan of at least %d", have, bits/8)
	}
	return nil
}

// selectComponent finds the component with the id and sets its tables.
func (j *Decoder) selectComponent(id, tables uint8, band scanBand) (*component, error) {
	for i := range j.components {
		c := &j.components[i]
		if c.id != id {
			continue
		}
		if tables>>4 > 3 || tables&15 > 3 {
			return nil, corrupt("component %d: huffman tables %d and %d", id, tables>>4, tables&15)
		}
		c.dc, c.ac, c.pred = &j.huffman().dc[tables>>4], &j.huffman().ac[tables&15], 0
		if band.first == 0 && band.high == 0 && !c.dc.set || band.last > 0 && !c.ac.set {
			return nil, corrupt("component %d: undefined huffman table", id)
		}
		if !j.progressive {
			c.ac.pair()
		}
		if c.quant == nil {
			// Later scans may follow another table under the same number.
			if !j.quant[c.tq].set {
				return nil, corrupt("component %d: undefined quantisation table %d", id, c.tq)
			}
			q := j.quant[c.tq]
			c.quant = &q
		}
		return c, nil
	}
	return nil, corrupt("a scan of component %d, which is not in the frame", id)
}

// advance checks that the band continues what the scans before have brought.
func (j *Decoder) advance(selected []*component, band scanBand) error {
	if band.first > band.last || band.last > 63 || band.low > 13 ||
		band.high != 0 && band.high != band.low+1 ||
		band.first == 0 && band.last != 0 && j.progressive ||
		band.first != 0 && len(selected) != 1 {
		return corrupt("a scan of coefficients %d to %d, bits %d to %d, of %d components",
			band.first, band.last, band.high, band.low, len(selected))
	}
	before := int8(band.high)
	if band.high == 0 {
		before = -1
	}
	for _, c := range selected {
		if band.first != 0 && c.known[0] < 0 {
			return corrupt("component %d: AC coefficients before DC", c.id)
		}
		for k := band.first; k <= band.last; k++ {
			if c.known[k] != before {
				return corrupt("component %d: coefficient %d comes out of order", c.id, k)
			}
			c.known[k] = int8(band.low)
		}
	}
	return nil
}

// decodeScan decodes the entropy-coded data at pos: of sequential files to
// samples, since a scan holds all of its components, of progressive ones to
// coefficients.
func (j *Decoder) decodeScan(selected []*component, band scanBand) error {
	j.beginInterval()
	decode := j.sequentialBlock
	if j.progressive {
		decode = j.progressiveBlock(band)
	}
	if len(selected) == 1 {
		return j.decodeSingle(selected[0], decode)
	}
	return j.decodeInterleaved(selected, decode)
}

// beginInterval begins to read the entropy-coded data at pos, and steps over it
// up to the next marker.
func (j *Decoder) beginInterval() {
	j.memory.interval, j.pos = unstuff(j.memory.interval[:0], j.data, j.pos)
	j.bits.reset(j.memory.interval)
	j.endOfBand = 0
}

// blockDecoder decodes the next block of c, which stands at (x, y) in blocks.
type blockDecoder func(c *component, x, y int) bool

// decodeSingle decodes a scan of one component: its blocks row by row, without
// those that only fill up MCUs.
func (j *Decoder) decodeSingle(c *component, decode blockDecoder) error {
	restart := restartCounter{left: j.interval}
	for y := range c.blocksY {
		for x := range c.blocksX {
			if err := j.restart(&restart); err != nil {
				return err
			}
			if !decode(c, x, y) || j.bits.overrun() {
				return j.badBlock(c, x, y)
			}
		}
	}
	return nil
}

// decodeInterleaved decodes a scan of several components, MCU by MCU.
func (j *Decoder) decodeInterleaved(selected []*component, decode blockDecoder) error {
	restart := restartCounter{left: j.interval}
	for my := range j.mcusY {
		for mx := range j.mcusX {
			if err := j.restart(&restart); err != nil {
				return err
			}
			for _, c := range selected {
				for y := my * c.v; y < (my+1)*c.v; y++ {
					for x := mx * c.h; x < (mx+1)*c.h; x++ {
						if !decode(c, x, y) {
							return j.badBlock(c, x, y)
						}
					}
				}
			}
			if j.bits.overrun() {
				return j.badBlock(selected[0], mx*selected[0].h, my*selected[0].v)
			}
		}
	}
	return nil
}

// restartCounter counts towards the next restart marker.
type restartCounter struct {
	left int  // MCUs before it
	next byte // its number, 0 to 7
}

// restart is called before each MCU and reads a restart marker where one is due.
func (j *Decoder) restart(r *restartCounter) error {
	if j.interval == 0 {
		return nil
	}
	if r.left > 0 {
		r.left--
		return nil
	}
	marker, err := j.nextMarker()
	if err != nil {
		return err
	}
	if marker != 0xd0+r.next {
		return corrupt("marker %#x where restart marker %d is due", marker, r.next)
	}
	r.next = (r.next + 1) & 7
	r.left = j.interval - 1
	j.beginInterval()
	for i := range j.components {
		j.components[i].pred = 0
	}
	return nil
}

// What can be wrong with a block. libjpeg-turbo does not notice every code that
// is not in the table, so that it shows a few broken files that are refused here.
var (
	errCode = errors.New("invalid huffman code")
	errEnd  = errors.New("the data ends early")
)

func (j *Decoder) badBlock(c *component, x, y int) error {
	why := errCode
	if j.bits.overrun() {
		why = errEnd
	}
	return fmt.Errorf("%w: jpeg: component %d, block (%d,%d): %w", codec.ErrCorrupt, c.id, x, y, why)
}
