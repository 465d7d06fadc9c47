package ort_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/orttest"
	"github.com/denseflow/densereward/engine/ort/provision"
)

func TestMistakesInARunAreErrorsThatNameTheTensor(t *testing.T) {
	s := open(t, addition(), []string{"x"}, []string{"y"}, ort.SessionOptions{Threads: 1})
	good := ort.Float32s([]int64{2, 1}, []float32{1, 2})
	for name, run := range map[string]struct {
		in, out []ort.Tensor
		want    string
	}{
		"too few inputs":        {nil, nil, "0 inputs given, the session has 1: [x]"},
		"too little data":       {[]ort.Tensor{{DType: ort.Float32, Shape: []int64{2, 2}, Data: make([]byte, 8)}}, nil, "input x: float32[2 2] needs 16 bytes, has 8"},
		"another type":          {[]ort.Tensor{ort.Int64s([]int64{2, 1}, []int64{1, 2})}, nil, "Unexpected input data type"},
		"another shape":         {[]ort.Tensor{ort.Float32s([]int64{3, 1}, []float32{1, 2, 3})}, nil, "invalid dimensions for input: x"},
		"no type":               {[]ort.Tensor{{Shape: []int64{1}}}, nil, "unsupported type undefined"},
		"too few outputs":       {[]ort.Tensor{good}, []ort.Tensor{}, "0 outputs given"},
		"an output too small":   {[]ort.Tensor{good}, []ort.Tensor{{DType: ort.Float32, Shape: []int64{2, 1}}}, "output y"},
		"an output of no shape": {[]ort.Tensor{good}, []ort.Tensor{ort.Float32s([]int64{1, 2}, make([]float32, 2))}, "invalid dimensions for output: y"},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			if run.out == nil {
				_, err = s.Run(context.Background(), run.in)
			} else {
				err = s.RunInto(context.Background(), run.in, run.out)
			}
			if err == nil || !strings.Contains(err.Error(), run.want) {
				t.Errorf("error %v, want one with %q", err, run.want)
			}
			if s.Live() != 0 {
				t.Errorf("%d values left", s.Live())
			}
		})
	}
	if _, err := s.Run(context.Background(), []ort.Tensor{good}); err != nil {
		t.Errorf("the session after failed runs: %v", err)
	}
}

func TestMistakesInAModelAreErrorsAtLoad(t *testing.T) {
	r := orttest.Open(t)
	x, y := []string{"x"}, []string{"y"}
	for name, load := range map[string]struct {
		model           []byte
		inputs, outputs []string
		options         ort.SessionOptions
		want            string
	}{
		"no inputs":          {addition(), nil, y, ort.SessionOptions{}, "at least one input"},
		"an unknown input":   {addition(), []string{"z"}, y, ort.SessionOptions{}, `no input "z"`},
		"an unknown output":  {addition(), x, []string{"z"}, ort.SessionOptions{}, `no output "z"`},
		"no model":           {[]byte("hello"), x, y, ort.SessionOptions{}, "not a valid protobuf"},
		"an unknown node":    {model(node("Frobnicate", x, y), input("x", ort.Float32, 1), output("y", ort.Float32, 1)), x, y, ort.SessionOptions{}, "Frobnicate"},
		"absent weights":     {model(node("Add", []string{"x", "w"}, y), external("w", ort.Float32, "none.bin", 1), input("x", ort.Float32, 1), output("y", ort.Float32, 1)), x, y, ort.SessionOptions{InitializersDir: t.TempDir()}, "none.bin"},
		"negative threads":   {addition(), x, y, ort.SessionOptions{Threads: -1}, "threads"},
		"an unknown device":  {addition(), x, y, ort.SessionOptions{Provider: ort.Provider{Kind: ort.Kind(7)}}, "unknown provider"},
		"a bad config entry": {addition(), x, y, ort.SessionOptions{ConfigEntries: map[string]string{"": "x"}}, "config entry"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := r.NewSession(load.model, load.inputs, load.outputs, load.options)
			if err == nil {
				_ = s.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), load.want) {
				t.Errorf("error %v, want one with %q", err, load.want)
			}
		})
	}
}

func TestRunningOutOfMemoryIsTold(t *testing.T) {
	m := model(node("ConstantOfShape", []string{"x"}, []string{"big"}), node("ReduceMax", []string{"big"}, []string{"y"}),
		input("x", ort.Int64, 2), output("y", ort.Float32, 1, 1))
	s := open(t, m, []string{"x"}, []string{"y"}, ort.SessionOptions{Threads: 1})
	run := func(n int64) error {
		_, err := s.Run(context.Background(), []ort.Tensor{ort.Int64s([]int64{2}, []int64{n, n})})
		return err
	}
	// More than a process can address, even with 57 bits: a kernel that promises
	// all memory that is asked for would else have it filled.
	if err := run(1 << 28); !errors.Is(err, ort.ErrOutOfMemory) || !strings.Contains(err.Error(), "smaller batch") {
		t.Errorf("256 PiB of float32: %v", err)
	}
	if err := run(8); err != nil {
		t.Errorf("the session after it ran out of memory: %v", err)
	}
}

func TestWithoutAGPUACUDASessionSaysWhatIsMissing(t *testing.T) {
	if devices, err := ort.Devices(); err == nil {
		t.Skipf("this machine has %v", devices)
	}
	_, err := orttest.Open(t).NewSession(addition(), []string{"x"}, []string{"y"}, ort.SessionOptions{Provider: ort.Provider{Kind: ort.CUDA}})
	if !errors.Is(err, ort.ErrNoCUDA) {
		t.Errorf("error %v, want an ErrNoCUDA", err)
	}
}

func TestClosedSessionsAndRuntimesSaySo(t *testing.T) {
	r, err := ort.Open(orttest.Library(t))
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.NewSession(addition(), []string{"x"}, []string{"y"}, ort.SessionOptions{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Close(), r.Close()); err != nil {
		t.Fatal(err)
	}
	x := []ort.Tensor{ort.Float32s([]int64{2, 1}, []float32{1, 2})}
	if _, err := s.Run(context.Background(), x); err != nil {
		t.Errorf("a session whose runtime was closed: %v", err)
	}
	if _, err := r.NewSession(addition(), []string{"x"}, []string{"y"}, ort.SessionOptions{}); !errors.Is(err, ort.ErrClosed) {
		t.Errorf("a session of a closed runtime: %v", err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Run(context.Background(), x); !errors.Is(err, ort.ErrClosed) {
		t.Errorf("a closed session: %v", err)
	}
}

func TestAProcessLoadsOneLibrary(t *testing.T) {
	r := orttest.Open(t)
	if got := r.Version(); r.Library().Source != "" && got == "" {
		t.Error("the library has no version")
	}
	again := orttest.Open(t)
	if again.Library().Path != r.Library().Path {
		t.Errorf("two libraries: %v and %v", again.Library(), r.Library())
	}
	other := filepath.Join(t.TempDir(), "other.so")
	if _, err := ort.Open(provision.Library{Path: other}); err == nil || !strings.Contains(err.Error(), "already loaded from") {
		t.Errorf("a second library: %v", err)
	}
	if _, err := ort.Open(provision.Library{}); !errors.Is(err, provision.ErrNotFound) {
		t.Errorf("a library without a path: %v", err)
	}
}

func TestAFileThatIsNoLibraryIsToldAndAnotherMayBeTried(t *testing.T) {
	const inside = "DENSEREWARD_TEST_NO_LIBRARY"
	if path := os.Getenv(inside); path != "" { // in a process that has loaded nothing
		if _, err := ort.Open(provision.Library{Path: path}); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("error %v", err)
		}
		orttest.Open(t)
		return
	}
	path := filepath.Join(t.TempDir(), "text.so")
	if err := os.WriteFile(path, []byte("no library"), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	command.Env = append(os.Environ(), inside+"="+path)
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// resident is the process's memory in use, in bytes.
func resident(t *testing.T) int64 {
	t.Helper()
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skipf("no measure of memory on %s: %v", runtime.GOOS, err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(statm))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

func TestRunsLeaveNoMemoryBehind(t *testing.T) {
	// y has a shape of its own name, so that the runtime allocates it.
	m := model(node("Identity", []string{"x"}, []string{"y"}), input("x", ort.Float32, -1),
		message(12, text(1, "y"), message(2, message(1, number(1, 1), message(2, message(1, text(2, "m")))))))
	s := open(t, m, []string{"x"}, []string{"y"}, ort.SessionOptions{Threads: 1})
	x := ort.Float32s([]int64{1 << 20}, make([]float32, 1<<20))
	run := func(rounds int) {
		for range rounds {
			if _, err := s.Run(context.Background(), []ort.Tensor{x}); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Run(context.Background(), []ort.Tensor{ort.Int64s([]int64{1}, []int64{1})}); err == nil {
				t.Fatal("a run on another type succeeded")
			}
		}
		runtime.GC()
	}
	run(20)
	before := resident(t)
	run(200) // 800 MiB of outputs
	if grown := resident(t) - before; grown > 100<<20 {
		t.Errorf("200 runs of 4 MiB left %d MiB behind", grown>>20)
	}
	if s.Live() != 0 {
		t.Errorf("%d values left", s.Live())
	}
}
