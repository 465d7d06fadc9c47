package ort_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/orttest"
)

func TestEveryGPURunsASessionOfItsOwn(t *testing.T) {
	var wait sync.WaitGroup
	for _, p := range orttest.CUDA(t) {
		s := open(t, addition(), []string{"x"}, []string{"y"}, ort.SessionOptions{Provider: p})
		wait.Go(func() {
			for range 20 {
				out, err := s.Run(context.Background(), []ort.Tensor{ort.Float32s([]int64{2, 1}, []float32{1, 2})})
				if err != nil {
					t.Errorf("%s: %v", p, err)
					return
				}
				if want := []float32{2, 4}; !slices.Equal(out[0].Float32s(), want) {
					t.Errorf("%s: %v, want %v", p, out[0].Float32s(), want)
				}
			}
		})
	}
	wait.Wait()
}

func TestAGPUOutOfMemoryIsToldAndSurvived(t *testing.T) {
	p := orttest.CUDA(t)[0]
	p.MemoryLimit = 64 << 20
	m := model(node("Expand", []string{"x", "n"}, []string{"big"}), node("ReduceMax", []string{"big"}, []string{"y"}),
		input("x", ort.Float32, 1, 1), input("n", ort.Int64, 2), output("y", ort.Float32, 1, 1))
	s := open(t, m, []string{"x", "n"}, []string{"y"}, ort.SessionOptions{Provider: p})
	run := func(n int64) error {
		_, err := s.Run(context.Background(), []ort.Tensor{ort.Float32s([]int64{1, 1}, []float32{3}), ort.Int64s([]int64{2}, []int64{n, n})})
		return err
	}
	if err := run(1 << 14); !errors.Is(err, ort.ErrOutOfMemory) {
		t.Errorf("1 GiB within 64 MiB: %v", err)
	}
	if err := run(64); err != nil {
		t.Errorf("the session after it ran out of memory: %v", err)
	}
}

// held is how much of a device's memory is in use.
func held(t *testing.T, device int) int64 {
	t.Helper()
	free, total, err := ort.FreeMemory(device)
	if err != nil {
		t.Fatal(err)
	}
	return total - free
}

func TestUnloadingGivesAGPUsMemoryBack(t *testing.T) {
	p := orttest.CUDA(t)[0]
	m := model(node("Expand", []string{"x", "n"}, []string{"big"}), node("ReduceMax", []string{"big"}, []string{"y"}),
		input("x", ort.Float32, 1, 1), input("n", ort.Int64, 2), output("y", ort.Float32, 1, 1))
	s := open(t, m, []string{"x", "n"}, []string{"y"}, ort.SessionOptions{Provider: p})
	run := func(n int64) {
		t.Helper()
		out, err := s.Run(context.Background(), []ort.Tensor{ort.Float32s([]int64{1, 1}, []float32{3}), ort.Int64s([]int64{2}, []int64{n, n})})
		if err != nil || out[0].Float32s()[0] != 3 {
			t.Fatalf("%v, %v", out, err)
		}
	}
	run(64)
	before := held(t, p.Device)
	run(1 << 14)
	const most = 64 << 20 // what a driver may keep
	if grown := held(t, p.Device) - before; grown < 1<<30 {
		t.Errorf("a run of 1 GiB left %d MiB in the arena", grown>>20)
	}
	if err := s.Unload(); err != nil {
		t.Fatal(err)
	}
	run(64)
	if grown := held(t, p.Device) - before; grown > most {
		t.Errorf("after unloading %d MiB more are held than before", grown>>20)
	}
}

// Every thread of the caller's would otherwise cost handles of cuBLAS.
func TestManyThreadsOfTheCallersCostAGPUNoMoreMemoryThanOne(t *testing.T) {
	p := orttest.CUDA(t)[0]
	m := model(node("MatMul", []string{"x", "x"}, []string{"y"}), input("x", ort.Float32, 64, 64), output("y", ort.Float32, 64, 64))
	s := open(t, m, []string{"x"}, []string{"y"}, ort.SessionOptions{Provider: p})
	run := func() {
		runtime.LockOSThread() // never unlocked, so that each call has a thread of its own
		if _, err := s.Run(context.Background(), []ort.Tensor{ort.Float32s([]int64{64, 64}, make([]float32, 64*64))}); err != nil {
			t.Error(err)
		}
	}
	var wait sync.WaitGroup
	one := func() {
		wait.Go(run)
		wait.Wait()
	}
	one()
	before := held(t, p.Device)
	for range 16 {
		one()
	}
	if grown := held(t, p.Device) - before; grown > 0 {
		t.Errorf("16 more threads, one after the other, cost %.1f MiB of the device", float64(grown)/(1<<20))
	}
}

func TestADeviceThatIsNotThereIsTold(t *testing.T) {
	n := len(orttest.CUDA(t))
	_, err := orttest.Open(t).NewSession(addition(), []string{"x"}, []string{"y"},
		ort.SessionOptions{Provider: ort.Provider{Kind: ort.CUDA, Device: n}})
	if !errors.Is(err, ort.ErrNoCUDA) {
		t.Errorf("device %d of %d: %v", n, n, err)
	}
	free, total, err := ort.FreeMemory(0)
	if err != nil || free <= 0 || free > total {
		t.Errorf("memory of device 0: %d free of %d, %v", free, total, err)
	}
}
