// Package npy reads and writes numpy's array files: .npy, and .npz archives of
// them. Arrays are little endian and in C order; others are refused.
package npy

import (
	"archive/zip"
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// Array is one array: Descr is numpy's type string, "<f4" for float32.
type Array struct {
	Descr string
	Shape []int
	Data  []byte
}

const (
	magic     = "\x93NUMPY"
	maxHeader = 1 << 16
	maxDims   = 32
)

// ErrFormat says that bytes are not an array that this package reads; the text
// of the error tells why.
var ErrFormat = errors.New("npy: not a usable numpy array")

var (
	descrPattern = regexp.MustCompile(`'descr':\s*'([<|=>][a-zA-Z]\d+)'`)
	orderPattern = regexp.MustCompile(`'fortran_order':\s*False`)
	shapePattern = regexp.MustCompile(`'shape':\s*\(([\d,\s]*)\)`)
)

// Read reads one array of at most maxBytes bytes of data.
func Read(r io.Reader, maxBytes int64) (Array, error) {
	header, err := readHeader(r)
	if err != nil {
		return Array{}, err
	}
	a, size, err := parseHeader(header)
	if err != nil {
		return Array{}, err
	}
	if size > maxBytes {
		return Array{}, fmt.Errorf("%w: %d bytes of data, the limit is %d", ErrFormat, size, maxBytes)
	}
	// Grown by what arrives, so that a header alone allocates nothing large.
	data, err := io.ReadAll(io.LimitReader(r, size))
	if err != nil {
		return Array{}, fmt.Errorf("npy: data: %w", err)
	}
	if int64(len(data)) != size {
		return Array{}, fmt.Errorf("%w: %d bytes of data, shape %v of %s needs %d", ErrFormat, len(data), a.Shape, a.Descr, size)
	}
	a.Data = data
	return a, nil
}

func readHeader(r io.Reader) (string, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil || string(head[:6]) != magic {
		return "", fmt.Errorf("%w: no numpy signature", ErrFormat)
	}
	width := 2
	if head[6] > 1 {
		width = 4
	}
	var length [4]byte
	if _, err := io.ReadFull(r, length[:width]); err != nil {
		return "", fmt.Errorf("%w: cut short in its header", ErrFormat)
	}
	n := binary.LittleEndian.Uint32(length[:])
	if n > maxHeader {
		return "", fmt.Errorf("%w: header of %d bytes, the limit is %d", ErrFormat, n, maxHeader)
	}
	header := make([]byte, n)
	if _, err := io.ReadFull(r, header); err != nil {
		return "", fmt.Errorf("%w: cut short in its header", ErrFormat)
	}
	return string(header), nil
}

// parseHeader returns the array without its data, and the data's size in bytes.
func parseHeader(header string) (a Array, size int64, err error) {
	descr := descrPattern.FindStringSubmatch(header)
	dims := shapePattern.FindStringSubmatch(header)
	if descr == nil || dims == nil || !orderPattern.MatchString(header) {
		return a, 0, fmt.Errorf("%w: header %.80q; C order and a plain type are needed", ErrFormat, header)
	}
	a.Descr = descr[1]
	item, err := strconv.Atoi(a.Descr[2:])
	if err != nil || item < 1 || item > 16 || a.Descr[0] == '>' {
		return a, 0, fmt.Errorf("%w: type %s", ErrFormat, a.Descr)
	}
	size = int64(item)
	for _, field := range strings.Split(dims[1], ",") {
		field = strings.TrimSpace(field)
		if field == "" {
			continue
		}
		n, err := strconv.Atoi(field)
		if err != nil || len(a.Shape) == maxDims || n > 0 && size > math.MaxInt64/int64(n) {
			return a, 0, fmt.Errorf("%w: shape (%s)", ErrFormat, dims[1])
		}
		a.Shape = append(a.Shape, n)
		size *= int64(n)
	}
	return a, size, nil
}

// ReadZip reads all arrays of an .npz archive, by their names without ".npy".
func ReadZip(r io.ReaderAt, size, maxBytes int64) (map[string]Array, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("npy: archive: %w", err)
	}
	arrays := make(map[string]Array, len(z.File))
	for _, f := range z.File {
		if err := readMember(arrays, f, maxBytes); err != nil {
			return nil, fmt.Errorf("npy: %s: %w", f.Name, err)
		}
	}
	return arrays, nil
}

func readMember(arrays map[string]Array, f *zip.File, maxBytes int64) error {
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	a, err := Read(bufio.NewReader(r), maxBytes)
	if err != nil {
		return err
	}
	arrays[strings.TrimSuffix(f.Name, ".npy")] = a
	return nil
}

// WriteFloat32 writes data as a float32 array of the given shape.
func WriteFloat32(w io.Writer, data []float32, shape ...int) error {
	a := Array{Descr: "<f4", Shape: shape, Data: make([]byte, 0, 4*len(data))}
	for _, v := range data {
		a.Data = binary.LittleEndian.AppendUint32(a.Data, math.Float32bits(v))
	}
	return Write(w, a)
}

// Write writes an array. It fails if the data does not fill the shape.
func Write(w io.Writer, a Array) error {
	dims := make([]string, len(a.Shape))
	for i, n := range a.Shape {
		dims[i] = strconv.Itoa(n)
	}
	tuple := strings.Join(dims, ", ")
	if len(a.Shape) == 1 {
		tuple += ","
	}
	header := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", a.Descr, tuple)
	_, size, err := parseHeader(header)
	if err != nil {
		return err
	}
	if size != int64(len(a.Data)) {
		return fmt.Errorf("npy: %d bytes for shape %v of %s", len(a.Data), a.Shape, a.Descr)
	}
	const align = 64
	fill := align - (len(magic)+4+len(header)+1)%align
	header += strings.Repeat(" ", fill%align) + "\n"
	out := make([]byte, 0, len(magic)+4+len(header)+len(a.Data))
	out = append(append(out, magic...), 1, 0)
	out = append(binary.LittleEndian.AppendUint16(out, uint16(len(header))), header...)
	if _, err := w.Write(append(out, a.Data...)); err != nil {
		return fmt.Errorf("npy: writing: %w", err)
	}
	return nil
}

// Float32s is the data of a float32 or float16 array as float32.
func (a Array) Float32s() ([]float32, error) {
	switch a.Descr {
	case "<f4":
		out := make([]float32, len(a.Data)/4)
		for i := range out {
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(a.Data[4*i:]))
		}
		return out, nil
	case "<f2":
		out := make([]float32, len(a.Data)/2)
		for i := range out {
			out[i] = half(binary.LittleEndian.Uint16(a.Data[2*i:]))
		}
		return out, nil
	}
	return nil, fmt.Errorf("%w: type %s where <f4 or <f2 is needed", ErrFormat, a.Descr)
}

// half is the float16 with the given bits.
func half(bits uint16) float32 {
	sign, exponent, fraction := uint32(bits>>15)<<31, uint32(bits>>10&31), uint32(bits&1023)
	switch exponent {
	case 0:
		v := math.Ldexp(float64(fraction), -24)
		return math.Float32frombits(math.Float32bits(float32(v)) | sign)
	case 31:
		return math.Float32frombits(sign | 0xff<<23 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
}
