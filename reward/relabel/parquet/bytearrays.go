package parquet

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// byteArrays reads a column of byte arrays without ever holding a page: pyarrow
// puts 1,024 rows into one, which of images are hundreds of megabytes, and the
// library holds several copies. A page in a delta encoding is held while it is read;
// those that are known, such as this package's own output, end at 64 MiB or before.
type byteArrays struct {
	leaf    *parquet.Column
	chunk   format.ColumnMetaData
	section *io.SectionReader // the chunk
	source  *bufio.Reader     // of it
	header  *thrift.Decoder
	codec   decompressor
	left    int64 // values of the chunk that are to come, nulls too
	// entry is a value of the dictionary; nil where there is none yet.
	entry func(i uint32) ([]byte, error)
	large *dictionary // where it is not held as a whole
	small int32       // bytes of dictionaries that are

	page page
}

// page is the one that is being read.
type page struct {
	left        int // values, nulls too
	repetitions hybrid
	definitions hybrid
	value       func() ([]byte, error)
	indexed     bool      // values are numbers of the dictionary
	rest        io.Reader // of its bytes in the file
	end         int64     // where the next one begins in the chunk
	sum         func() error
}

// readAhead of a column in a file, and of each request to a bucket.
const readAhead = 1 << 20

// maxValue bounds a byte array, as it does a file in a tar.
const maxValue = 1 << 30

func newByteArrays(source io.ReaderAt, leaf *parquet.Column, chunk format.ColumnMetaData) *byteArrays {
	start := chunk.DataPageOffset
	if d := chunk.DictionaryPageOffset; d > 0 && d < start {
		start = d
	}
	b := &byteArrays{leaf: leaf, chunk: chunk, left: chunk.NumValues, codec: decompressor{codec: chunk.Codec}, small: smallDictionary}
	b.section = io.NewSectionReader(source, start, chunk.TotalCompressedSize)
	b.source = bufio.NewReaderSize(b.section, readAhead)
	b.header = thrift.NewDecoder(new(thrift.CompactProtocol).NewReader(b.source))
	return b
}

func (b *byteArrays) next() (parquet.Value, error) {
	for b.page.left == 0 {
		if err := b.endPage(); err != nil {
			return parquet.Value{}, err
		}
		if b.left == 0 {
			return parquet.Value{}, io.EOF
		}
		if err := b.beginPage(); err != nil {
			return parquet.Value{}, fmt.Errorf("page: %w", noEOF(err))
		}
	}
	v, err := b.read()
	if err != nil {
		return parquet.Value{}, noEOF(err)
	}
	b.page.left--
	b.left--
	return v, nil
}

// noEOF is err, of which io.EOF would pass for a proper end.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (b *byteArrays) read() (parquet.Value, error) {
	repetition, definition := 0, b.leaf.MaxDefinitionLevel()
	var err error
	if b.leaf.MaxRepetitionLevel() > 0 {
		if repetition, err = b.page.repetitions.level(b.leaf.MaxRepetitionLevel()); err != nil {
			return parquet.Value{}, err
		}
	}
	if b.leaf.MaxDefinitionLevel() > 0 {
		if definition, err = b.page.definitions.level(b.leaf.MaxDefinitionLevel()); err != nil {
			return parquet.Value{}, err
		}
	}
	v := parquet.NullValue()
	if definition == b.leaf.MaxDefinitionLevel() {
		data, err := b.page.value()
		if err != nil {
			return parquet.Value{}, err
		}
		v = parquet.ByteArrayValue(data)
	}
	return v.Level(repetition, definition, b.leaf.Index()), nil
}

// endPage passes over what is left of a page, and checks its sum.
func (b *byteArrays) endPage() error {
	if b.page.rest == nil {
		return nil
	}
	if _, err := io.Copy(io.Discard, b.page.rest); err != nil {
		return err
	}
	err := b.page.sum()
	b.page = page{}
	return err
}

// beginPage reads headers up to a page of values.
func (b *byteArrays) beginPage() error {
	var header format.PageHeader
	if err := b.header.Decode(&header); err != nil {
		return err
	}
	if header.CompressedPageSize < 0 || header.UncompressedPageSize < 0 {
		return fmt.Errorf("a page of %d bytes, %d of them compressed", header.UncompressedPageSize, header.CompressedPageSize)
	}
	begin, err := b.position()
	if err != nil {
		return err
	}
	b.page.end = begin + int64(header.CompressedPageSize)
	b.page.rest, b.page.sum = summed(b.source, &header)
	switch {
	case header.Type == format.DictionaryPage && header.DictionaryPageHeader.Valid:
		return b.beginDictionary(begin, &header)
	case header.Type == format.DataPage && header.DataPageHeader.Valid:
		return b.beginV1(&header.DataPageHeader.V)
	case header.Type == format.DataPageV2 && header.DataPageHeaderV2.Valid:
		return b.beginV2(&header.DataPageHeaderV2.V)
	case header.Type == format.IndexPage:
		return nil
	}
	return fmt.Errorf("a page of type %v without its header", header.Type)
}

// summed are the bytes of a page, and what checks them once they have been read.
func summed(source io.Reader, header *format.PageHeader) (io.Reader, func() error) {
	sum, raw := crc32.NewIEEE(), &io.LimitedReader{R: source, N: int64(header.CompressedPageSize)}
	check := func() error {
		switch {
		case raw.N > 0:
			return io.ErrUnexpectedEOF
		case header.CRC != 0 && uint32(header.CRC) != sum.Sum32():
			return errors.New("a page's checksum is wrong")
		}
		return nil
	}
	if header.CRC != 0 {
		return io.TeeReader(raw, sum), check
	}
	return raw, check
}

// position is how much of the chunk was read.
func (b *byteArrays) position() (int64, error) {
	at, err := b.section.Seek(0, io.SeekCurrent)
	return at - int64(b.source.Buffered()), err
}

// skip leaves the rest of a page unread.
func (b *byteArrays) skip() error {
	at, err := b.position()
	if err != nil {
		return err
	}
	if n := b.page.end - at; n <= int64(b.source.Buffered()) {
		_, err = b.source.Discard(int(n))
	} else {
		_, err = b.section.Seek(b.page.end, io.SeekStart)
		b.source.Reset(b.section)
	}
	b.left -= int64(b.page.left)
	b.page = page{}
	return err
}

// beginV1 reads the levels, which begin the compressed bytes, each behind its
// length.
func (b *byteArrays) beginV1(h *format.DataPageHeader) error {
	body, err := b.codec.reader(b.page.rest)
	if err != nil {
		return err
	}
	level := func(most int, encoding format.Encoding) (hybrid, error) {
		if most == 0 {
			return hybrid{}, nil
		}
		if encoding != format.RLE {
			return hybrid{}, fmt.Errorf("levels in the encoding %v", encoding)
		}
		var length [4]byte
		if _, err := io.ReadFull(body, length[:]); err != nil {
			return hybrid{}, err
		}
		return readLevels(body, int64(binary.LittleEndian.Uint32(length[:])), most)
	}
	if b.page.repetitions, err = level(b.leaf.MaxRepetitionLevel(), h.RepetitionLevelEncoding); err != nil {
		return err
	}
	if b.page.definitions, err = level(b.leaf.MaxDefinitionLevel(), h.DefinitionLevelEncoding); err != nil {
		return err
	}
	return b.beginValues(body, h.Encoding, h.NumValues)
}

// beginV2 reads the levels, which come before the compressed bytes.
func (b *byteArrays) beginV2(h *format.DataPageHeaderV2) (err error) {
	if b.page.repetitions, err = readLevels(b.page.rest, int64(h.RepetitionLevelsByteLength), b.leaf.MaxRepetitionLevel()); err != nil {
		return err
	}
	if b.page.definitions, err = readLevels(b.page.rest, int64(h.DefinitionLevelsByteLength), b.leaf.MaxDefinitionLevel()); err != nil {
		return err
	}
	body := b.page.rest
	if compressed := !h.IsCompressed.Valid || h.IsCompressed.V; compressed && h.NumValues > h.NumNulls {
		if body, err = b.codec.reader(b.page.rest); err != nil {
			return err
		}
	}
	return b.beginValues(body, h.Encoding, h.NumValues)
}

// readLevels takes n bytes of levels from 0 to most.
func readLevels(r io.Reader, n int64, most int) (hybrid, error) {
	data, err := io.ReadAll(io.LimitReader(r, n)) // grows with what is there
	if err == nil && int64(len(data)) < n {
		err = io.ErrUnexpectedEOF
	}
	return newHybrid(&slice{data: data}, width(most)), err
}

// beginValues does not touch the body: where all values are null there may be none.
func (b *byteArrays) beginValues(body io.Reader, encoding format.Encoding, n int32) error {
	if n < 0 || int64(n) > b.left {
		return fmt.Errorf("a page of %d values where %d are left", n, b.left)
	}
	b.page.left = int(n)
	var begin func(io.Reader) (func() ([]byte, error), error)
	switch encoding {
	case format.Plain:
		b.page.value = func() ([]byte, error) { return readPlain(body) }
		return nil
	//lint:ignore SA1019 files of before 2.0 have it
	case format.PlainDictionary, format.RLEDictionary:
		begin, b.page.indexed = b.indices, true
	case format.DeltaLengthByteArray:
		begin = deltas(new(delta.LengthByteArrayEncoding).DecodeByteArray)
	case format.DeltaByteArray:
		begin = deltas(new(delta.ByteArrayEncoding).DecodeByteArray)
	default:
		return fmt.Errorf("byte arrays in the encoding %v", encoding)
	}
	b.page.value = func() (_ []byte, err error) {
		if b.page.value, err = begin(body); err != nil {
			return nil, err
		}
		return b.page.value()
	}
	return nil
}

// readPlain reads a value behind its length.
func readPlain(r io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(length[:])
	if n > maxValue {
		return nil, fmt.Errorf("a value of %d bytes, the limit is %d", n, maxValue)
	}
	const believed = 64 << 20 // a longer one grows with what is there
	if n <= believed {
		data := make([]byte, n)
		_, err := io.ReadFull(r, data)
		return data, err
	}
	data, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err == nil && len(data) < int(n) {
		err = io.ErrUnexpectedEOF
	}
	return data, err
}

// indices reads numbers of the dictionary behind the width of each.
func (b *byteArrays) indices(body io.Reader) (func() ([]byte, error), error) {
	reader := bufio.NewReader(body)
	bits, err := reader.ReadByte()
	if err == nil && bits > 32 {
		err = fmt.Errorf("numbers of a dictionary in %d bits", bits)
	}
	if err != nil {
		return nil, err
	}
	numbers := newHybrid(reader, int(bits))
	return func() ([]byte, error) {
		i, err := numbers.next()
		if err != nil {
			return nil, err
		}
		if b.entry == nil {
			return nil, errors.New("a value of a dictionary that is not there")
		}
		return b.entry(i)
	}, nil
}

// deltas reads all values of a page, whose lengths come before their bytes.
func deltas(decode func(dst, src []byte, offsets []uint32) ([]byte, []uint32, error)) func(io.Reader) (func() ([]byte, error), error) {
	return func(body io.Reader) (func() ([]byte, error), error) {
		encoded, err := io.ReadAll(body)
		if err != nil {
			return nil, err
		}
		data, offsets, err := decode(nil, encoded, nil)
		if err != nil {
			return nil, err
		}
		return func() ([]byte, error) {
			if len(offsets) < 2 {
				return nil, io.ErrUnexpectedEOF
			}
			value := data[offsets[0]:offsets[1]:offsets[1]]
			offsets = offsets[1:]
			return value, nil
		}, nil
	}
}

func (b *byteArrays) close() error {
	b.codec.close()
	if b.large != nil {
		b.large.codec.close()
	}
	return nil
}
