package ort_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/orttest"
)

func open(tb testing.TB, model []byte, inputs, outputs []string, o ort.SessionOptions) *ort.Session {
	tb.Helper()
	s, err := orttest.Open(tb).NewSession(model, inputs, outputs, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("closing session: %v", err)
		}
	})
	return s
}

func TestRunReturnsWhatTheGraphComputes(t *testing.T) {
	s := open(t, addition(), []string{"x"}, []string{"y"}, ort.SessionOptions{Threads: 1})
	out, err := s.Run(context.Background(), []ort.Tensor{ort.Float32s([]int64{2, 2}, []float32{1, 2, 3, 4})})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := out[0].Float32s(), []float32{2, 4, 6, 8}; !slices.Equal(got, want) {
		t.Errorf("x+x = %v, want %v", got, want)
	}
	if want := []int64{2, 2}; !slices.Equal(out[0].Shape, want) {
		t.Errorf("shape %v, want %v", out[0].Shape, want)
	}
}

func TestWeightsAreReadFromTheInitializersFolder(t *testing.T) {
	dir := t.TempDir()
	weights := ort.Float32s([]int64{3}, []float32{10, 20, 30})
	if err := os.WriteFile(filepath.Join(dir, "weights.bin"), weights.Data, 0o600); err != nil {
		t.Fatal(err)
	}
	m := model(node("Mul", []string{"x", "w"}, []string{"y"}), external("w", ort.Float32, "weights.bin", 3),
		input("x", ort.Float32, 3), output("y", ort.Float32, 3))
	s := open(t, m, []string{"x"}, []string{"y"}, ort.SessionOptions{InitializersDir: dir, Threads: 1})
	out, err := s.Run(context.Background(), []ort.Tensor{ort.Float32s([]int64{3}, []float32{1, 2, 3})})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := out[0].Float32s(), []float32{10, 40, 90}; !slices.Equal(got, want) {
		t.Errorf("x*w = %v, want %v", got, want)
	}
}

func TestCancellingTheContextStopsALongRun(t *testing.T) {
	s := open(t, counter(), []string{"n", "x"}, []string{"y"}, ort.SessionOptions{Threads: 1})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	long := []ort.Tensor{ort.Int64s(nil, []int64{1 << 60}), ort.Float32s([]int64{1}, []float32{0})}
	if _, err := s.Run(ctx, long); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a run of 2^60 rounds returned %v, want the context's error", err)
	}
	short := []ort.Tensor{ort.Int64s(nil, []int64{100}), ort.Float32s([]int64{1}, []float32{0})}
	out, err := s.Run(context.Background(), short)
	if err != nil {
		t.Fatalf("the session after a cancelled run: %v", err)
	}
	if got := out[0].Float32s()[0]; got != 100 {
		t.Errorf("100 rounds gave %v", got)
	}
}

func TestRunsInParallelDoNotDisturbEachOther(t *testing.T) {
	s := open(t, addition(), []string{"x"}, []string{"y"}, ort.SessionOptions{Threads: 1})
	var wait sync.WaitGroup
	for worker := range 8 {
		wait.Go(func() {
			for round := range 50 {
				x := float32(worker*100 + round)
				out, err := s.Run(context.Background(), []ort.Tensor{ort.Float32s([]int64{2, 1}, []float32{x, -x})})
				if err != nil {
					t.Error(err)
					return
				}
				if got := out[0].Float32s(); got[0] != 2*x || got[1] != -2*x {
					t.Errorf("x+x of %v = %v", x, got)
				}
			}
		})
	}
	wait.Wait()
}
