package vae

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/denseflow/densereward/reward"
)

// maxNPYHeader bounds the header of an .npy file; numpy's own have about 100
// bytes.
const maxNPYHeader = 1 << 16

// npyTypes maps numpy's dtype strings. bfloat16 has none: ml_dtypes writes it
// as two opaque bytes.
var npyTypes = map[string]reward.DType{
	"<f2": reward.Float16, "<f4": reward.Float32, "<f8": reward.Float64,
	"<V2": reward.BFloat16, "|V2": reward.BFloat16, "bfloat16": reward.BFloat16,
	"|b1": reward.Bool, "|i1": reward.Int8, "|u1": reward.Uint8, "<i2": reward.Int16, "<u2": reward.Uint16,
	"<i4": reward.Int32, "<u4": reward.Uint32, "<i8": reward.Int64, "<u8": reward.Uint64,
}

// ReadNPY reads an array in numpy's .npy format, versions 1 to 3, row major and
// little-endian, of at most limit bytes of data. Nothing is allocated before
// the header's claims are checked against limit, and no more than the file has.
func ReadNPY(r io.Reader, limit int64) (*reward.Tensor, error) {
	t, err := readNPY(bufio.NewReader(r), limit)
	if err != nil {
		return nil, fmt.Errorf("npy: %w", err)
	}
	return t, nil
}

func readNPY(r *bufio.Reader, limit int64) (*reward.Tensor, error) {
	header, err := npyHeader(r)
	if err != nil {
		return nil, err
	}
	t, err := parseNPY(header)
	if err != nil {
		return nil, err
	}
	n, ok := reward.Elements(t.Shape)
	size := int64(t.Type.Size())
	if !ok || int64(n) > limit/size {
		return nil, fmt.Errorf("shape %v of %s is larger than %d bytes", t.Shape, t.Type, limit)
	}
	want := int64(n) * size
	var data bytes.Buffer // grows with what is there, not with what is claimed
	got, err := io.Copy(&data, io.LimitReader(r, want))
	if err != nil {
		return nil, err
	}
	if got != want {
		return nil, fmt.Errorf("shape %v of %s takes %d bytes, the file has %d", t.Shape, t.Type, want, got)
	}
	t.Data = data.Bytes()
	return t, nil
}

// npyHeader reads up to the data and returns the description in between.
func npyHeader(r io.Reader) (string, error) {
	var magic [8]byte
	if _, err := io.ReadFull(r, magic[:]); err != nil || string(magic[:6]) != "\x93NUMPY" {
		return "", errors.New("not an .npy file")
	}
	var length [4]byte
	width := 2
	switch magic[6] {
	case 1:
	case 2, 3:
		width = 4
	default:
		return "", fmt.Errorf("version %d is unknown", magic[6])
	}
	if _, err := io.ReadFull(r, length[:width]); err != nil {
		return "", errors.New("the header is cut short")
	}
	n := binary.LittleEndian.Uint32(length[:])
	if n > maxNPYHeader {
		return "", fmt.Errorf("a header of %d bytes, limit %d", n, maxNPYHeader)
	}
	header := make([]byte, n)
	if _, err := io.ReadFull(r, header); err != nil {
		return "", errors.New("the header is cut short")
	}
	return string(header), nil
}

// parseNPY reads the description, a Python dict such as
//
//	{'descr': '<f4', 'fortran_order': False, 'shape': (2, 16, 8, 8), }
func parseNPY(header string) (*reward.Tensor, error) {
	descr, err := npyField(header, "'descr':")
	if err != nil {
		return nil, err
	}
	if len(descr) == 0 || descr[0] != '\'' {
		return nil, errors.New("descr is not one type; structured arrays are not read")
	}
	name, _, closed := strings.Cut(descr[1:], "'")
	kind, known := npyTypes[name]
	if !closed || !known {
		return nil, fmt.Errorf("type %.20q is not read", name)
	}
	order, err := npyField(header, "'fortran_order':")
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(order, "False") {
		return nil, errors.New("column-major order (fortran_order) is not read")
	}
	shape, err := npyField(header, "'shape':")
	if err != nil {
		return nil, err
	}
	inner, _, closed := strings.Cut(strings.TrimPrefix(shape, "("), ")")
	if !closed || !strings.HasPrefix(shape, "(") {
		return nil, errors.New("shape is not a tuple")
	}
	t := &reward.Tensor{Type: kind, Shape: []int{}}
	for field := range strings.SplitSeq(inner, ",") {
		field = strings.TrimSpace(field)
		if field == "" { // after the comma of a tuple of one
			continue
		}
		d, err := strconv.Atoi(field)
		if err != nil || d < 0 || len(t.Shape) == reward.MaxRank {
			return nil, fmt.Errorf("shape (%.80s) is not possible", inner)
		}
		t.Shape = append(t.Shape, d)
	}
	return t, nil
}

// npyField is what follows a key of the description.
func npyField(header, key string) (string, error) {
	_, after, found := strings.Cut(header, key)
	if !found {
		return "", fmt.Errorf("the header has no %s", strings.Trim(key, "':"))
	}
	return strings.TrimLeft(after, " "), nil
}
