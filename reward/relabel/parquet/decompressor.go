package parquet

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
)

// decompressor reads one page after the other as streams.
type decompressor struct {
	codec  format.CompressionCodec
	zstd   *zstd.Decoder
	gzip   *gzip.Reader
	brotli *brotli.Reader
	snappy *snappyReader
}

// maxWindow of zstd, which is that of its command.
const maxWindow = 128 << 20

// reader is what r holds; it is read to its end, or no further, before the next.
func (d *decompressor) reader(r io.Reader) (out io.Reader, err error) {
	switch d.codec {
	case format.Uncompressed:
		return r, nil
	case format.Snappy:
		if d.snappy == nil {
			d.snappy = new(snappyReader)
		}
		return d.snappy, d.snappy.reset(r)
	case format.Gzip:
		if d.gzip == nil {
			d.gzip = new(gzip.Reader)
		}
		return d.gzip, d.gzip.Reset(r)
	case format.Brotli:
		if d.brotli == nil {
			d.brotli = new(brotli.Reader)
		}
		return d.brotli, d.brotli.Reset(r)
	case format.Zstd:
		if d.zstd != nil {
			return d.zstd, d.zstd.Reset(r)
		}
		d.zstd, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		return d.zstd, err
	}
	return nil, fmt.Errorf("compression %v cannot be read", d.codec)
}

func (d *decompressor) close() {
	if d.zstd != nil {
		d.zstd.Close()
	}
}

// snappyWindow is how far back a stream of Snappy may copy from. Its encoders
// compress blocks of 64 KiB by themselves.
const snappyWindow = 256 << 10

// snappyPiece is how much of a literal is read at a time.
const snappyPiece = 64 << 10

var (
	errSnappy       = errors.New("corrupt Snappy data")
	errSnappyWindow = fmt.Errorf("a copy from more than %d bytes before, which no known encoder of Snappy makes", snappyWindow)
)

// snappyReader decodes Snappy's raw format, which libraries decode as a whole, in
// a window (github.com/google/snappy, format_description.txt).
type snappyReader struct {
	source  *bufio.Reader
	left    uint64 // bytes that are to come
	literal uint64 // of them the next ones of a literal
	window  []byte // what was written last
	read    int    // of it
}

func (s *snappyReader) reset(r io.Reader) (err error) {
	if s.source == nil {
		s.source = bufio.NewReader(r)
		s.window = make([]byte, 0, 4*snappyWindow)
	}
	s.source.Reset(r)
	s.window, s.read, s.literal = s.window[:0], 0, 0
	s.left, err = binary.ReadUvarint(s.source)
	return err
}

func (s *snappyReader) Read(p []byte) (int, error) {
	for s.read == len(s.window) {
		if s.left == 0 {
			return 0, io.EOF
		}
		if err := s.fill(); err != nil {
			return 0, noEOF(err)
		}
	}
	n := copy(p, s.window[s.read:])
	s.read += n
	return n, nil
}

// fill decodes a piece, with room for it.
func (s *snappyReader) fill() error {
	if cap(s.window)-len(s.window) < snappyPiece {
		s.window = s.window[:copy(s.window, s.window[len(s.window)-snappyWindow:])]
		s.read = len(s.window)
	}
	for s.literal == 0 {
		done, err := s.tag()
		if done || err != nil {
			return err
		}
	}
	n := int(min(s.literal, snappyPiece))
	piece := s.window[len(s.window) : len(s.window)+n]
	if _, err := io.ReadFull(s.source, piece); err != nil {
		return err
	}
	s.window = s.window[:len(s.window)+n]
	s.literal -= uint64(n)
	s.left -= uint64(n)
	return nil
}

// tag reads an element and, if it is a copy, does it.
func (s *snappyReader) tag() (copied bool, err error) {
	tag, err := s.source.ReadByte()
	if err != nil {
		return false, err
	}
	var length, offset uint64
	switch tag & 3 {
	case 0:
		length = uint64(tag >> 2)
		if extra := int(length) - 59; extra > 0 {
			if length, err = s.number(extra); err != nil {
				return false, err
			}
		}
		if s.literal = length + 1; s.literal > s.left {
			return false, errSnappy
		}
		return false, nil
	case 1:
		length = 4 + uint64(tag>>2&7)
		offset, err = s.number(1)
		offset |= uint64(tag>>5) << 8
	case 2:
		length = 1 + uint64(tag>>2)
		offset, err = s.number(2)
	case 3:
		length = 1 + uint64(tag>>2)
		offset, err = s.number(4)
	}
	switch {
	case err != nil:
		return false, err
	case offset > snappyWindow:
		return false, errSnappyWindow
	case offset == 0 || offset > uint64(len(s.window)) || length > s.left:
		return false, errSnappy
	}
	for range length { // the copy may run into itself
		s.window = append(s.window, s.window[len(s.window)-int(offset)])
	}
	s.left -= length
	return true, nil
}

// number reads n bytes, the lowest first.
func (s *snappyReader) number(n int) (v uint64, err error) {
	for i := range n {
		b, err := s.source.ReadByte()
		if err != nil {
			return 0, err
		}
		v |= uint64(b) << (8 * i)
	}
	return v, nil
}
