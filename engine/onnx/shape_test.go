package onnx_test

import (
	"testing"

	"github.com/denseflow/densereward/engine/onnx"
)

func TestDimensionsMultiply(t *testing.T) {
	a, b := onnx.Sym("a"), onnx.Sym("b")
	for name, test := range map[string]struct {
		dim   onnx.Dim
		want  string
		fixed bool
	}{
		"two numbers":                    {n(3).Times(n(4)), "12", true},
		"a number and a symbol":          {n(3).Times(a), "3*a", false},
		"one and a symbol":               {a.Times(n(1)), "a", false},
		"symbols in either order":        {b.Times(a), "a*b", false},
		"a symbol with itself":           {a.Times(a), "a*a", false},
		"products of products":           {b.Times(n(2)).Times(n(3).Times(a)), "6*a*b", false},
		"nought and a symbol is nought":  {n(0).Times(a), "0", true},
		"nothing but the number one":     {onnx.Shape{}.Elements(), "1", true},
		"the elements of a mixed shape":  {onnx.Shape{a, n(2), b, n(5)}.Elements(), "10*a*b", false},
		"the elements of an empty shape": {onnx.Shape{a, n(0)}.Elements(), "0", true},
	} {
		t.Run(name, func(t *testing.T) {
			_, fixed := test.dim.Fixed()
			if got := test.dim.String(); got != test.want || fixed != test.fixed {
				t.Errorf("%s, known %t; want %s, %t", got, fixed, test.want, test.fixed)
			}
		})
	}
	if n(2).Times(a).Times(b) != b.Times(a.Times(n(2))) {
		t.Error("equal products are not equal")
	}
}

func TestShapesCompareAndTellTheirSizes(t *testing.T) {
	s := onnx.Shape{batch, n(3)}
	if !s.Equal(onnx.Shape{batch, n(3)}) || s.Equal(onnx.Shape{count, n(3)}) || s.Equal(onnx.Shape{batch}) {
		t.Error("Equal does not tell shapes apart")
	}
	if got, ok := onnx.Dims(2, 3).Fixed(); !ok || len(got) != 2 || got[1] != 3 {
		t.Errorf("sizes of (2,3) are %v, %t", got, ok)
	}
	if _, ok := s.Fixed(); ok {
		t.Errorf("the sizes of %v are known", s)
	}
	if got := s.String(); got != "(batch,3)" {
		t.Errorf("%s, want (batch,3)", got)
	}
	v := onnx.New("g").Input("x", f32, s)
	if v.Dim(-1) != n(3) || v.Dim(0) != batch || v.Dim(2) != (onnx.Dim{}) || v.Dim(-3) != (onnx.Dim{}) {
		t.Error("Dim does not count from both ends")
	}
}

func TestElementTypesKnowTheirNamesAndSizes(t *testing.T) {
	for dtype, want := range map[onnx.DType]struct {
		name           string
		size           int64
		float, integer bool
	}{
		onnx.Float32: {"float32", 4, true, false}, onnx.Float64: {"float64", 8, true, false},
		onnx.Float16: {"float16", 2, true, false}, onnx.BFloat16: {"bfloat16", 2, true, false},
		onnx.Uint8: {"uint8", 1, false, true}, onnx.Int8: {"int8", 1, false, true},
		onnx.Int32: {"int32", 4, false, true}, onnx.Int64: {"int64", 8, false, true},
		onnx.Bool: {"bool", 1, false, false}, onnx.Invalid: {"invalid", 0, false, false}, 99: {"unknown", 0, false, false},
	} {
		if dtype.String() != want.name || dtype.Size() != want.size || dtype.Float() != want.float || dtype.Integer() != want.integer {
			t.Errorf("type %d is %s of %d bytes, float %t, integer %t", dtype, dtype, dtype.Size(), dtype.Float(), dtype.Integer())
		}
	}
}
