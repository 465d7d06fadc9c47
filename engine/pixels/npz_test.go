package pixels

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"strings"
	"testing"
)

// npy is an array of a numpy file, little endian and in C order.
type npy struct {
	descr string
	data  []byte
}

// readNPZ reads the arrays of an npz file of testdata.
func readNPZ(t testing.TB, name string) map[string]npy {
	t.Helper()
	file := readFile(t, name)
	z, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	arrays := make(map[string]npy)
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) < 10 || string(b[:6]) != "\x93NUMPY" || b[6] != 1 {
			t.Fatalf("%s in %s is not a numpy array of version 1", f.Name, name)
		}
		end := 10 + int(binary.LittleEndian.Uint16(b[8:]))
		header := string(b[10:end])
		_, descr, ok := strings.Cut(header, "'descr': '")
		if !ok || !strings.Contains(header, "'fortran_order': False") {
			t.Fatalf("%s in %s has header %q", f.Name, name, header)
		}
		descr, _, _ = strings.Cut(descr, "'")
		arrays[strings.TrimSuffix(f.Name, ".npy")] = npy{descr, b[end:]}
	}
	return arrays
}

func (a npy) want(t testing.TB, descr string) {
	t.Helper()
	if a.descr != descr {
		t.Fatalf("array is of type %q, want %q", a.descr, descr)
	}
}

func (a npy) float32s(t testing.TB) []float32 {
	t.Helper()
	a.want(t, "<f4")
	v := make([]float32, len(a.data)/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(a.data[4*i:]))
	}
	return v
}

func (a npy) int64s(t testing.TB) []int64 {
	t.Helper()
	a.want(t, "<i8")
	v := make([]int64, len(a.data)/8)
	for i := range v {
		v[i] = int64(binary.LittleEndian.Uint64(a.data[8*i:]))
	}
	return v
}
