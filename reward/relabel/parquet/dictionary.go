package parquet

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// smallDictionary is held as a whole, as captions and labels are.
const smallDictionary = 16 << 20

// mostCounted bounds the values of a chunk whose uses of a dictionary are counted.
const mostCounted = 4 << 20

// beginDictionary reads the dictionary whose bytes begin at begin in the chunk, or opens
// it to be read beside the pages.
func (b *byteArrays) beginDictionary(begin int64, header *format.PageHeader) error {
	n := header.DictionaryPageHeader.V.NumValues
	switch {
	case b.entry != nil:
		return errors.New("a second dictionary")
	case header.UncompressedPageSize <= b.small || b.left > mostCounted || int64(n) > b.left || n < 0:
		return b.readDictionary(int(n))
	}
	return b.openDictionary(begin, header, int(n))
}

// readDictionary reads a dictionary of n values.
func (b *byteArrays) readDictionary(n int) error {
	plain, err := b.codec.reader(b.page.rest)
	if err != nil {
		return err
	}
	var all [][]byte
	for range n {
		value, err := readPlain(plain)
		if err != nil {
			return fmt.Errorf("dictionary: %w", err)
		}
		all = append(all, value)
	}
	b.entry = func(i uint32) ([]byte, error) {
		if int64(i) >= int64(len(all)) {
			return nil, fmt.Errorf("value %d of a dictionary of %d", i, len(all))
		}
		return all[i], nil
	}
	return nil
}

// dictionary is a large one, read beside the pages that ask for its values: pyarrow
// begins a row group with a dictionary of 1,024 values whatever their size, so that it
// may be of images. A value is held from where it was read until it is asked for the
// last time.
type dictionary struct {
	codec decompressor
	plain io.Reader
	check func() error
	uses  []uint32 // of each value, that are to come
	read  uint32   // values
	held  map[uint32][]byte
}

// openDictionary counts how often the pages behind a dictionary of n values ask for each,
// and goes on behind it.
func (b *byteArrays) openDictionary(begin int64, header *format.PageHeader, n int) error {
	next := b.page.end
	if err := b.skip(); err != nil {
		return err
	}
	uses, err := b.countUses(next, n)
	if err != nil {
		return fmt.Errorf("dictionary: %w", err)
	}
	d := &dictionary{codec: decompressor{codec: b.chunk.Codec}, uses: uses, held: map[uint32][]byte{}}
	section := io.NewSectionReader(b.section, begin, int64(header.CompressedPageSize))
	raw, check := summed(bufio.NewReaderSize(section, readAhead), header)
	d.check = func() error {
		if _, err := io.Copy(io.Discard, raw); err != nil {
			return err
		}
		return check()
	}
	if d.plain, err = d.codec.reader(raw); err != nil {
		return err
	}
	b.large, b.entry = d, d.value
	return nil
}

// countUses reads the numbers of the pages from a place of the chunk on, and passes
// over pages of other values.
func (b *byteArrays) countUses(from int64, n int) ([]uint32, error) {
	uses := make([]uint32, n)
	s := &byteArrays{leaf: b.leaf, chunk: b.chunk, left: b.left, codec: decompressor{codec: b.chunk.Codec}}
	defer s.codec.close()
	s.section = io.NewSectionReader(b.section, from, b.section.Size()-from)
	s.source = bufio.NewReaderSize(s.section, 64<<10)
	s.header = thrift.NewDecoder(new(thrift.CompactProtocol).NewReader(s.source))
	s.entry = func(i uint32) ([]byte, error) {
		if int64(i) >= int64(n) {
			return nil, fmt.Errorf("value %d of %d", i, n)
		}
		uses[i]++
		return nil, nil
	}
	for s.left > 0 {
		if err := s.beginPage(); err != nil {
			return nil, noEOF(err)
		}
		for s.page.indexed && s.page.left > 0 {
			if _, err := s.read(); err != nil {
				return nil, noEOF(err)
			}
			s.page.left--
			s.left--
		}
		if err := s.skip(); err != nil {
			return nil, err
		}
	}
	return uses, nil
}

// value is one that was counted.
func (d *dictionary) value(i uint32) ([]byte, error) {
	if int64(i) >= int64(len(d.uses)) {
		return nil, fmt.Errorf("value %d of a dictionary of %d", i, len(d.uses))
	}
	for d.read <= i {
		value, err := readPlain(d.plain)
		if err != nil {
			return nil, fmt.Errorf("dictionary: %w", err)
		}
		if d.uses[d.read] > 0 {
			d.held[d.read] = value
		}
		if d.read++; int(d.read) == len(d.uses) {
			if err := d.check(); err != nil {
				return nil, fmt.Errorf("dictionary: %w", err)
			}
		}
	}
	value := d.held[i]
	if d.uses[i]--; d.uses[i] == 0 {
		delete(d.held, i)
	}
	return value, nil
}
