package npy

import (
	"archive/zip"
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
)

// made is a file as numpy writes it, with the given header and data.
func made(header string, data ...byte) []byte {
	return append([]byte(magic+"\x01\x00"+string([]byte{byte(len(header)), 0})+header), data...)
}

const float16Header = "{'descr': '<f2', 'fortran_order': False, 'shape': (3,), }\n"

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	want := []float32{1, -2.5, float32(math.Inf(1)), 0, 7, 1e-20}
	for _, shape := range [][]int{{6}, {2, 3}, {1, 6, 1}} {
		var file bytes.Buffer
		if err := WriteFloat32(&file, want, shape...); err != nil {
			t.Fatal(err)
		}
		if at := bytes.IndexByte(file.Bytes(), '\n') + 1; at%64 != 0 {
			t.Errorf("data begin at %d, numpy aligns them to 64", at)
		}
		a, err := Read(&file, 24)
		if err != nil {
			t.Fatal(err)
		}
		got, err := a.Float32s()
		if err != nil || len(a.Shape) != len(shape) || a.Shape[0] != shape[0] {
			t.Fatalf("shape %v for %v: %v", a.Shape, shape, err)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("value %d is %v, want %v", i, got[i], want[i])
			}
		}
	}
}

func TestHalvesAreWidened(t *testing.T) {
	a, err := Read(bytes.NewReader(made(float16Header, 0x00, 0x3c, 0x01, 0x00, 0x00, 0xfc)), 6)
	if err != nil {
		t.Fatal(err)
	}
	got, err := a.Float32s()
	if err != nil || got[0] != 1 || got[1] != float32(math.Ldexp(1, -24)) || !math.IsInf(float64(got[2]), -1) {
		t.Errorf("values %v, error %v", got, err)
	}
}

func TestArchivesGiveTheirArraysByName(t *testing.T) {
	var file bytes.Buffer
	z := zip.NewWriter(&file)
	w, err := z.Create("maps.npy")
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteFloat32(w, []float32{4}, 1); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	arrays, err := ReadZip(bytes.NewReader(file.Bytes()), int64(file.Len()), 4)
	if err != nil || arrays["maps"].Shape[0] != 1 {
		t.Errorf("arrays %v, error %v", arrays, err)
	}
}

func TestFilesThatAreNotUsableAreRefused(t *testing.T) {
	for name, file := range map[string][]byte{
		"empty":                  nil,
		"another format":         []byte("not numpy at all"),
		"cut in its header":      made(float16Header)[:20],
		"cut in its data":        made(float16Header, 1, 2),
		"Fortran order":          made(strings.Replace(float16Header, "False", "True", 1), 1, 2, 3, 4, 5, 6),
		"big endian":             made(strings.Replace(float16Header, "<f2", ">f2", 1), 1, 2, 3, 4, 5, 6),
		"a size beyond counting": made(strings.Replace(float16Header, "(3,)", "(9223372036854775807, 9)", 1)),
		"larger than the limit":  made(strings.Replace(float16Header, "(3,)", "(999,)", 1)),
	} {
		t.Run(name, func(t *testing.T) {
			if a, err := Read(bytes.NewReader(file), 6); !errors.Is(err, ErrFormat) {
				t.Errorf("array %v, error %v", a.Shape, err)
			}
		})
	}
	if err := WriteFloat32(&bytes.Buffer{}, []float32{1}, 2); err == nil {
		t.Error("one value was written as two")
	}
	if _, err := (Array{Descr: "<i8"}).Float32s(); !errors.Is(err, ErrFormat) {
		t.Errorf("integers were taken for numbers: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(made(float16Header, 1, 2, 3, 4, 5, 6))
	f.Add(made("{'descr': '<f4', 'fortran_order': False, 'shape': (), }\n", 1, 2, 3, 4))
	f.Fuzz(func(t *testing.T, file []byte) {
		a, err := Read(bytes.NewReader(file), 1<<16)
		if err == nil && len(a.Data) > len(file) {
			t.Errorf("%d bytes of data from a file of %d", len(a.Data), len(file))
		}
	})
}
