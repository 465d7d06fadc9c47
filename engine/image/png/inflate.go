package png

import (
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/zlib"
)

var (
	errTooMany = errors.New("more pixels than the size declares")
	errTooFew  = errors.New("fewer pixels than the size declares")
)

// An inflater decompresses zlib streams and keeps its memory between them.
type inflater struct {
	source bytes.Reader
	stream io.ReadCloser // also a zlib.Resetter; nil before the first
}

// inflate decompresses in, whose checksum it verifies, to exactly len(out) bytes.
func (z *inflater) inflate(out, in []byte) (err error) {
	z.source.Reset(in)
	defer z.source.Reset(nil)
	if z.stream == nil {
		z.stream, err = zlib.NewReader(&z.source)
	} else {
		err = z.stream.(zlib.Resetter).Reset(&z.source, nil)
	}
	if err != nil {
		return err
	}
	for n := 0; n < len(out); {
		k, err := z.stream.Read(out[n:])
		n += k
		switch {
		case err == io.EOF && n < len(out):
			return errTooFew
		case err != nil && err != io.EOF:
			return err
		}
	}
	// The checksum is read with the end of the stream.
	var more [1]byte
	switch n, err := z.stream.Read(more[:]); {
	case n > 0:
		return errTooMany
	case err != io.EOF:
		return err
	}
	return nil
}
