package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
)

// hybrid reads numbers of a fixed width in Parquet's hybrid of runs and bit-packed
// groups of eight, one at a time: a header that claims billions costs nothing.
type hybrid struct {
	source io.ByteReader
	width  int    // in bits
	run    uint64 // numbers of the run that are to come
	packed bool
	value  uint32 // of a run of one number
	bits   uint64 // that were read and not taken
	have   int
}

func newHybrid(source io.ByteReader, width int) hybrid {
	return hybrid{source: source, width: width}
}

// width of numbers from 0 to most.
func width(most int) int { return bits.Len(uint(most)) }

func (h *hybrid) next() (uint32, error) {
	for h.run == 0 {
		if err := h.begin(); err != nil {
			return 0, err
		}
	}
	h.run--
	if !h.packed {
		return h.value, nil
	}
	for h.have < h.width {
		b, err := h.source.ReadByte()
		if err != nil {
			return 0, err
		}
		h.bits |= uint64(b) << h.have
		h.have += 8
	}
	v := uint32(h.bits & (1<<h.width - 1))
	h.bits >>= h.width
	h.have -= h.width
	return v, nil
}

func (h *hybrid) begin() error {
	header, err := binary.ReadUvarint(h.source)
	if err != nil {
		return err
	}
	h.run, h.packed = header>>1, header&1 == 1
	if h.packed {
		if h.run > 1<<40 {
			return errors.New("a run without end")
		}
		h.run *= 8
		h.bits, h.have = 0, 0
		return nil
	}
	h.value = 0
	for i := 0; i < (h.width+7)/8; i++ {
		b, err := h.source.ReadByte()
		if err != nil {
			return err
		}
		h.value |= uint32(b) << (8 * i)
	}
	return nil
}

// level is the next number, which is at most most.
func (h *hybrid) level(most int) (int, error) {
	v, err := h.next()
	if err == nil && int64(v) > int64(most) {
		err = fmt.Errorf("a level of %d where %d is the highest", v, most)
	}
	return int(v), err
}

// slice is a ByteReader.
type slice struct{ data []byte }

func (s *slice) ReadByte() (byte, error) {
	if len(s.data) == 0 {
		return 0, io.EOF
	}
	b := s.data[0]
	s.data = s.data[1:]
	return b, nil
}
