package ort_test

import (
	"context"
	"testing"

	"github.com/denseflow/densereward/engine/ort"
)

// BenchmarkRun measures what a run costs around the graph itself.
func BenchmarkRun(b *testing.B) {
	s := open(b, addition(), []string{"x"}, []string{"y"}, ort.SessionOptions{Threads: 1})
	for name, n := range map[string]int64{"a few numbers": 2, "4 MiB": 1 << 19} {
		b.Run(name, func(b *testing.B) {
			x := []ort.Tensor{ort.Float32s([]int64{2, n}, make([]float32, 2*n))}
			b.SetBytes(int64(len(x[0].Data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Run(context.Background(), x); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
