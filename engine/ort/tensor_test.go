package ort_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/ort"
)

var everyDType = []ort.DType{
	ort.Float32, ort.Float64, ort.Float16, ort.BFloat16, ort.Int8, ort.Int16, ort.Int32, ort.Int64,
	ort.Uint8, ort.Uint16, ort.Uint32, ort.Uint64, ort.Bool,
}

// counting is a tensor of n elements whose bytes differ, or bools in turn.
func counting(t *testing.T, d ort.DType, n int64) ort.Tensor {
	t.Helper()
	x, err := ort.Empty(d, n)
	if err != nil {
		t.Fatal(err)
	}
	for i := range x.Data {
		x.Data[i] = byte(i * 3 % 64)
		if d == ort.Bool {
			x.Data[i] = byte(i % 2)
		}
	}
	return x
}

func TestEveryElementTypeGoesInAndComesOut(t *testing.T) {
	for _, d := range everyDType {
		t.Run(d.String(), func(t *testing.T) {
			s := open(t, identity(d), []string{"x"}, []string{"y"}, ort.SessionOptions{Threads: 1})
			x := counting(t, d, 10)
			out, err := s.Run(context.Background(), []ort.Tensor{x})
			if err != nil {
				t.Fatal(err)
			}
			if out[0].DType != d || !slices.Equal(out[0].Shape, x.Shape) || !bytes.Equal(out[0].Data, x.Data) {
				t.Errorf("%s in, %s out: %v", x, out[0], out[0].Data)
			}
			into := counting(t, d, 10)
			clear(into.Data)
			if err := s.RunInto(context.Background(), []ort.Tensor{x}, []ort.Tensor{into}); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(into.Data, x.Data) {
				t.Errorf("RunInto wrote %v, want %v", into.Data, x.Data)
			}
		})
	}
}

func TestOutputsOfUnknownShapeAreCopiedButForHalves(t *testing.T) {
	for _, d := range everyDType {
		m := model(node("Identity", []string{"x"}, []string{"y"}), input("x", d, -1),
			message(12, text(1, "y"), message(2, message(1, number(1, elementType[d]), message(2, message(1, text(2, "m")))))))
		s := open(t, m, []string{"x"}, []string{"y"}, ort.SessionOptions{Threads: 1})
		x := counting(t, d, 7)
		out, err := s.Run(context.Background(), []ort.Tensor{x})
		if d == ort.Float16 || d == ort.BFloat16 {
			if err == nil || !strings.Contains(err.Error(), "cast it") {
				t.Errorf("%s: error %v", d, err)
			}
			into := counting(t, d, 7)
			if err := s.RunInto(context.Background(), []ort.Tensor{x}, []ort.Tensor{into}); err != nil {
				t.Errorf("%s into memory of the caller: %v", d, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", d, err)
		}
		if out[0].DType != d || !bytes.Equal(out[0].Data, x.Data) {
			t.Errorf("%s in, %s out: %v", x, out[0], out[0].Data)
		}
		if s.Live() != 0 {
			t.Errorf("%s: %d values left", d, s.Live())
		}
	}
}

func TestScalarsAndEmptyTensorsGoInAndComeOut(t *testing.T) {
	scalars := []ort.Tensor{
		ort.Float32s(nil, []float32{1.5}), ort.Float64s(nil, []float64{2.5}), ort.Int32s(nil, []int32{-3}),
		ort.Int64s(nil, []int64{1 << 40}), ort.Uint8s(nil, []uint8{200}), ort.Bools(nil, []bool{true}),
	}
	for _, x := range scalars {
		m := model(node("Identity", []string{"x"}, []string{"y"}), input("x", x.DType), output("y", x.DType))
		s := open(t, m, []string{"x"}, []string{"y"}, ort.SessionOptions{Threads: 1})
		out, err := s.Run(context.Background(), []ort.Tensor{x})
		if err != nil {
			t.Fatalf("scalar %s: %v", x, err)
		}
		if len(out[0].Shape) != 0 || !bytes.Equal(out[0].Data, x.Data) {
			t.Errorf("scalar %s came out as %s %v", x, out[0], out[0].Data)
		}
	}
	s := open(t, identity(ort.Int64), []string{"x"}, []string{"y"}, ort.SessionOptions{Threads: 1})
	out, err := s.Run(context.Background(), []ort.Tensor{ort.Int64s([]int64{0}, nil)})
	if err != nil {
		t.Fatal(err)
	}
	if got := out[0]; got.DType != ort.Int64 || got.Elements() != 0 {
		t.Errorf("no elements in, %s out", got)
	}
}

func TestTensorsKnowTheirSize(t *testing.T) {
	if _, err := ort.Empty(ort.Float32, 1<<40, 1<<40); err == nil {
		t.Error("a shape of 2^80 elements has memory")
	}
	if _, err := ort.Empty(ort.Float32, -1); err == nil {
		t.Error("a negative dimension has memory")
	}
	if _, err := ort.Empty(ort.DType(99), 1); err == nil {
		t.Error("an unknown type has memory")
	}
	if got := ort.Float32s([]int64{2, 0, 3}, nil).Elements(); got != 0 {
		t.Errorf("(2,0,3) has %d elements", got)
	}
	if got := ort.Float32s([]int64{0, 1 << 62, 1 << 62}, nil).Elements(); got != 0 {
		t.Errorf("a zero does not absorb what would overflow: %d", got)
	}
}

func TestViewsOfUnalignedBytesAreCopies(t *testing.T) {
	buf := make([]byte, 9)
	copy(buf[1:], ort.Float32s(nil, []float32{1, 2}).Data)
	for start := range 2 {
		x := ort.Tensor{DType: ort.Float32, Shape: []int64{2}, Data: buf[start : start+8]}
		if got := x.Float32s(); len(got) != 2 {
			t.Errorf("at byte %d: %v", start, got)
		} else if start == 1 && (got[0] != 1 || got[1] != 2) {
			t.Errorf("unaligned view reads %v", got)
		}
	}
}

func TestReadingATensorAsAnotherTypePanics(t *testing.T) {
	defer func() {
		if r := recover(); r == nil || !strings.Contains(r.(string), "float32[1] read as int64") {
			t.Errorf("recovered %v", r)
		}
	}()
	ort.Float32s([]int64{1}, []float32{1}).Int64s()
}
