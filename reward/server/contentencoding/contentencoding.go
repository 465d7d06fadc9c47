// Package contentencoding reads the bodies of requests as their Content-Encoding
// says.
package contentencoding

import (
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/denseflow/densereward/reward"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// Accepted are the encodings that are read, as Accept-Encoding lists them.
const Accepted = "gzip, deflate, zstd"

// maxWindow bounds what a zstd body may ask a decoder to remember.
const maxWindow = 8 << 20

// What decoders hold beside what they give.
const (
	inflating = 48 << 10  // a window of 32 KiB and tables
	zstdFixed = 512 << 10 // tables and a block
)

// Working is the memory that the decoder of a body from Decode holds once it has given
// so many bytes.
func Working(body io.Reader, given int64) int64 {
	d, ok := body.(*decodedBody)
	switch {
	case !ok:
		return 0
	case !d.windowed:
		return inflating
	}
	return zstdFixed + 2*min(given, maxWindow) // as it grows, twice what it remembers
}

// Decode has the body of r read as its Content-Encoding says. What is read is
// counted as it comes out: the limits on bodies hold for what they decode to. An
// encoding that is not read is a reward.ErrUnsupportedMediaType that names it.
func Decode(r *http.Request) error {
	encoding := strings.Join(r.Header.Values("Content-Encoding"), ", ")
	body, windowed := r.Body, false
	var open func() (io.Reader, func(), error)
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity":
		return nil
	case "gzip", "x-gzip":
		open = func() (io.Reader, func(), error) {
			z, err := gzip.NewReader(body)
			return z, func() {}, err
		}
	case "deflate":
		open = func() (io.Reader, func(), error) {
			z, err := zlib.NewReader(body)
			return z, func() {}, err
		}
	case "zstd":
		windowed = true
		open = func() (io.Reader, func(), error) {
			z, err := zstd.NewReader(body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
			if err != nil {
				return nil, nil, err
			}
			return z, z.Close, nil
		}
	default:
		return reward.ErrUnsupportedMediaType.With("content-encoding: %.80q is not read, want one of %s, or none", encoding, Accepted)
	}
	r.Body, r.ContentLength = &decodedBody{encoded: body, open: open, windowed: windowed}, -1
	return nil
}

type decodedBody struct {
	encoded  io.ReadCloser
	windowed bool // as zstd is
	open     func() (io.Reader, func(), error)
	decoded  io.Reader
	free     func()
	failed   error
}

// Read implements io.Reader.
func (d *decodedBody) Read(p []byte) (int, error) {
	if d.decoded == nil && d.failed == nil {
		d.decoded, d.free, d.failed = d.open()
	}
	if d.failed != nil {
		return 0, d.fault(d.failed)
	}
	n, err := d.decoded.Read(p)
	return n, d.fault(err)
}

// fault tells an encoding that is broken from a connection that is.
func (d *decodedBody) fault(err error) error {
	var network interface{ Timeout() bool }
	var tooLarge *http.MaxBytesError
	if err == nil || err == io.EOF || errors.As(err, &network) || errors.As(err, &tooLarge) {
		return err
	}
	return reward.ErrMalformedBody.With("content-encoding: the body cannot be decoded: %v", err)
}

// Close implements io.Closer.
func (d *decodedBody) Close() error {
	if d.free != nil {
		d.free()
	}
	return d.encoded.Close()
}
