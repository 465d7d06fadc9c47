// Package compress reads and writes streams that a file's name says are
// compressed: .gz with gzip, .zst with zstd.
package compress

import (
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"

	"github.com/denseflow/densereward/reward/relabel"
)

// Trim cuts the suffix that tells the compression off a name.
func Trim(name string) string {
	return strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".zst")
}

// Reader is the uncompressed stream of an object, which it owns.
type Reader struct {
	io.Reader
	source relabel.Object
	count  atomic.Int64
	free   func()
}

// NewReader reads the object called name.
func NewReader(source relabel.Object, name string) (*Reader, error) {
	r := &Reader{source: source}
	raw := counter{source, &r.count}
	switch {
	case strings.HasSuffix(name, ".gz"):
		z, err := gzip.NewReader(raw)
		if err != nil {
			return nil, errors.Join(err, source.Close())
		}
		r.Reader, r.free = z, func() {}
	case strings.HasSuffix(name, ".zst"):
		// One goroutine: the reader may be dropped in the middle of a stream.
		z, err := zstd.NewReader(raw, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(1<<30))
		if err != nil {
			return nil, errors.Join(err, source.Close())
		}
		r.Reader, r.free = z, z.Close
	default:
		r.Reader, r.free = raw, func() {}
	}
	return r, nil
}

// CheckEnd reads what is left of a compressed stream, whose checksum is at its end.
func (r *Reader) CheckEnd() error {
	if _, plain := r.Reader.(counter); plain {
		return nil
	}
	_, err := io.Copy(io.Discard, r.Reader)
	if errors.Is(err, gzip.ErrHeader) { // something else behind it
		return nil
	}
	return err
}

// Position is the number of bytes of the object that were read.
func (r *Reader) Position() int64 { return r.count.Load() }

// Close closes the object too.
func (r *Reader) Close() error {
	r.free()
	return r.source.Close()
}

type counter struct {
	io.Reader
	count *atomic.Int64
}

func (c counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.count.Add(int64(n))
	return n, err
}

// NewWriter writes a file called name to w. Closing it leaves w open. The same
// bytes in the same pieces give the same stream.
func NewWriter(w io.Writer, name string) (io.WriteCloser, error) {
	switch {
	case strings.HasSuffix(name, ".gz"):
		return gzip.NewWriter(w), nil
	case strings.HasSuffix(name, ".zst"):
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	}
	return plain{w}, nil
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }
