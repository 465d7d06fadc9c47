package ort_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/denseflow/densereward/engine/ort"
)

// weighted is y = x * w with w in a file of the folder, and that file.
func weighted(t *testing.T) (s *ort.Session, file string) {
	t.Helper()
	dir := t.TempDir()
	file = filepath.Join(dir, "weights.bin")
	writeWeight(t, file, 10)
	m := model(node("Mul", []string{"x", "w"}, []string{"y"}), external("w", ort.Float32, "weights.bin", 1),
		input("x", ort.Float32, 1), output("y", ort.Float32, 1))
	return open(t, m, []string{"x"}, []string{"y"}, ort.SessionOptions{InitializersDir: dir, Threads: 1}), file
}

func writeWeight(t *testing.T, file string, w float32) {
	t.Helper()
	if err := os.WriteFile(file, ort.Float32s([]int64{1}, []float32{w}).Data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// three is the session's answer to 3.
func three(s *ort.Session) (float32, error) {
	out, err := s.Run(context.Background(), []ort.Tensor{ort.Float32s([]int64{1}, []float32{3})})
	if err != nil {
		return 0, err
	}
	return out[0].Float32s()[0], nil
}

func TestAnUnloadedSessionIsLoadedByTheNextRun(t *testing.T) {
	s, file := weighted(t)
	for range 2 { // unloading twice is harmless
		if err := s.Unload(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := three(s); err == nil || !strings.Contains(err.Error(), "weights.bin") {
		t.Errorf("running without weights: %v", err)
	}
	writeWeight(t, file, 10)
	for range 2 {
		if y, err := three(s); err != nil || y != 30 {
			t.Errorf("3 times 10 is %v, %v", y, err)
		}
	}
}

func TestRunsAndUnloadingMayComeTogether(t *testing.T) {
	s, _ := weighted(t)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 50 {
				if y, err := three(s); err != nil || y != 30 {
					t.Errorf("3 times 10 is %v, %v", y, err)
				}
			}
		})
		group.Go(func() {
			for range 10 {
				if err := s.Unload(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}

func TestAClosedSessionIsNotLoadedAgain(t *testing.T) {
	s, _ := weighted(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Unload(); err != nil {
		t.Errorf("unloading: %v", err)
	}
	if _, err := three(s); !errors.Is(err, ort.ErrClosed) {
		t.Errorf("running: %v", err)
	}
}
