package ort_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/orttest"
)

func TestEveryOptionReachesTheSession(t *testing.T) {
	dir := t.TempDir()
	for name, o := range map[string]ort.SessionOptions{
		"threads":      {Threads: 2, InterOpThreads: 2, Parallel: true},
		"no arena":     {Threads: 1, NoArena: true, NoMemPattern: true},
		"extended":     {Threads: 1, Optimization: ort.OptimizeExtended},
		"basic":        {Threads: 1, Optimization: ort.OptimizeBasic},
		"as written":   {Threads: 1, Optimization: ort.OptimizeNothing},
		"log errors":   {Threads: 1, Log: ort.LogErrors},
		"config entry": {Threads: 1, ConfigEntries: map[string]string{"session.intra_op.allow_spinning": "0"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, addition(), []string{"x"}, []string{"y"}, o)
			if _, err := s.Run(context.Background(), []ort.Tensor{ort.Float32s([]int64{2, 1}, []float32{1, 2})}); err != nil {
				t.Fatal(err)
			}
		})
	}
	s, err := orttest.Open(t).NewSession(addition(), []string{"x"}, []string{"y"}, ort.SessionOptions{
		Threads: 1, ProfilePrefix: filepath.Join(dir, "profile"), OptimizedModelPath: filepath.Join(dir, "rewritten.onnx"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	profiles, _ := filepath.Glob(filepath.Join(dir, "profile*.json"))
	rewritten, err := os.ReadFile(filepath.Join(dir, "rewritten.onnx"))
	if len(profiles) != 1 || err != nil || !bytes.Contains(rewritten, []byte("Add")) {
		t.Errorf("profiles %v, rewritten graph of %d bytes, %v", profiles, len(rewritten), err)
	}
}

func TestProvidersAreNamedAsOnTheCommandLine(t *testing.T) {
	for want, p := range map[string]ort.Provider{"cpu": {}, "cuda:1": {Kind: ort.CUDA, Device: 1}} {
		if got := p.String(); got != want {
			t.Errorf("%+v is %q, want %q", p, got, want)
		}
	}
	if got := orttest.Open(t).Providers(); len(got) == 0 || got[0].Kind != ort.CPU {
		t.Errorf("providers %v do not begin with the CPU", got)
	}
}

func FuzzSignature(f *testing.F) {
	f.Add(addition())
	f.Add(counter())
	f.Add(identity(ort.BFloat16))
	f.Fuzz(func(t *testing.T, model []byte) {
		_ = ort.ParseSignature(model) // must neither panic nor hang
	})
}
