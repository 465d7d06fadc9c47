package numtest

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// recorder is a testing.TB that keeps what would have been reported.
type recorder struct {
	testing.TB
	reports []string
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.reports = append(r.reports, fmt.Sprintf(format, args...))
}

func TestToleranceAllows(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	tests := []struct {
		name      string
		got, want float64
		allowed   bool
	}{
		{"equal numbers pass", 3, 3, true},
		{"a small number passes by the absolute bound", 1e-13, 0, true},
		{"a large number passes by the relative bound", 1e6 + 1e-4, 1e6, true},
		{"a number outside both bounds fails", 1 + 1e-8, 1, false},
		{"the same infinity passes", inf, inf, true},
		{"the other infinity fails", -inf, inf, false},
		{"a number for an infinity fails", 1, inf, false},
		{"an infinity for a number fails", inf, 1, false},
		{"NaN for a number fails", nan, 1, false},
		{"a number for NaN fails", 1, nan, false},
		{"NaN for NaN fails", nan, nan, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tol := Tolerance{Abs: 1e-12, Rel: 1e-9}
			if got := tol.Allows(test.got, test.want); got != test.allowed {
				t.Errorf("Allows(%v, %v) = %v", test.got, test.want, got)
			}
		})
	}
}

func TestReports(t *testing.T) {
	tol := Tolerance{Abs: 0.1, Rel: 0.01}
	tests := []struct {
		name    string
		compare func(tb testing.TB)
		want    []string // parts of the one report; none means that it passes
	}{
		{"a close value is silent", func(tb testing.TB) { Value(tb, "x", float32(1.05), 1.0, tol) }, nil},
		{"a wrong value shows both numbers", func(tb testing.TB) { Value(tb, "loss", 1.5, 1.0, tol) },
			[]string{"loss = 1.5, want 1 ", "off by 0.5", "allowed 0.1 absolute or 0.01 relative"}},
		{"close slices are silent", func(tb testing.TB) { Slice(tb, "x", []float64{1, 2}, []float64{1, 2.05}, tol) }, nil},
		{"wrong slices name the worst element", func(tb testing.TB) {
			Slice(tb, "map", []float64{1, 9, 3, 5}, []float64{1, 2, 3, 4}, tol)
		}, []string{"map: 2 of 4 values are off", "index 1: 9, want 2"}},
		{"NaN is worse than any number", func(tb testing.TB) {
			Slice(tb, "map", []float64{math.NaN(), 9e9}, []float64{1, 2}, tol)
		}, []string{"2 of 2", "index 0: NaN"}},
		{"other lengths are reported", func(tb testing.TB) { Slice(tb, "map", []float64{1}, []float64{1, 2}, tol) },
			[]string{"map has 1 values, want 2"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := &recorder{TB: t}
			test.compare(r)
			text := strings.Join(r.reports, "\n")
			if (len(test.want) == 0) != (len(r.reports) == 0) || len(r.reports) > 1 {
				t.Fatalf("reports %q", r.reports)
			}
			for _, part := range test.want {
				if !strings.Contains(text, part) {
					t.Errorf("report %q lacks %q", text, part)
				}
			}
		})
	}
}

func TestCompare(t *testing.T) {
	d := Compare([]float32{1, 2, 5}, []float64{1, 2, 3})
	if d.Max != 2 || d.Index != 2 {
		t.Errorf("max %v at %d, want 2 at 2", d.Max, d.Index)
	}
	Value(t, "mean", d.Mean, 2.0/3, Tolerance{Rel: 1e-15})
	Value(t, "relative", d.Rel, 2/math.Sqrt(14), Tolerance{Rel: 1e-15})
	if d := Compare([]float64{0}, []float64{0}); d.Rel != 0 {
		t.Errorf("zeros differ by %v relative", d.Rel)
	}
	if d := Compare([]float64{math.NaN(), 5}, []float64{1, 1}); !math.IsInf(d.Max, 1) || d.Index != 0 {
		t.Errorf("NaN gives %v", d)
	}
}

func TestCompareRefusesNothing(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("comparing empty slices did not panic")
		}
	}()
	Compare([]float64{}, []float64{})
}

func TestULPs(t *testing.T) {
	smallest := float32(math.SmallestNonzeroFloat32)
	tests := []struct {
		name string
		a, b float32
		want uint32
	}{
		{"equal numbers", 1, 1, 0},
		{"the two zeros", 0, float32(math.Copysign(0, -1)), 0},
		{"neighbours above one", 1, math.Nextafter32(1, 2), 1},
		{"neighbours in the other order", math.Nextafter32(1, 2), 1, 1},
		{"across zero", -smallest, smallest, 2},
		{"a binade", 1, 2, 1 << 23},
		{"NaN", float32(math.NaN()), 1, math.MaxUint32},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := ULPs(test.a, test.b); got != test.want {
				t.Errorf("ULPs(%v, %v) = %d, want %d", test.a, test.b, got, test.want)
			}
		})
	}
}
