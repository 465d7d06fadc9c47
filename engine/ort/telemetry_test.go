package ort_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/orttest"
	"github.com/denseflow/densereward/engine/ort/provision"
)

// envChild names the library that a child process of a test is to open.
const envChild = "DENSEREWARD_TEST_OPEN"

func TestMain(m *testing.M) {
	if path := os.Getenv(envChild); path != "" {
		if err := openAndRun(path); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("opened")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// openAndRun opens the library and runs a model of one node.
func openAndRun(path string) error {
	r, err := ort.Open(provision.Library{Path: path})
	if err != nil {
		return err
	}
	m := model(node("Add", []string{"x", "x"}, []string{"y"}), input("x", ort.Float32, 1), output("y", ort.Float32, 1))
	s, err := r.NewSession(m, []string{"x"}, []string{"y"}, ort.SessionOptions{Threads: 1})
	if err != nil {
		return err
	}
	out, err := s.Run(context.Background(), []ort.Tensor{ort.Float32s([]int64{1}, []float32{3})})
	if err == nil && out[0].Float32s()[0] != 6 {
		err = fmt.Errorf("3 + 3 is %v", out[0].Float32s())
	}
	return errors.Join(err, s.Close(), r.Close())
}

// child is this test program as a process that opens the library, with a home of
// its own.
func child(t *testing.T, before []string, args ...string) (command *exec.Cmd, home string) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	home = t.TempDir()
	line := append(append(before, program), args...)
	command = exec.Command(line[0], line[1:]...)
	command.Env = []string{
		"HOME=" + home, "XDG_CACHE_HOME=" + filepath.Join(home, "cache"), "TMPDIR=" + filepath.Join(home, "tmp"),
		"PATH=" + os.Getenv("PATH"), envChild + "=" + orttest.Library(t).Path,
	}
	if err := os.Mkdir(filepath.Join(home, "tmp"), 0o755); err != nil {
		t.Fatal(err)
	}
	return command, home
}

func mustOpen(t *testing.T, command *exec.Cmd) {
	t.Helper()
	if out, err := command.CombinedOutput(); err != nil || !strings.Contains(string(out), "opened") {
		t.Fatalf("%v: %.2000s", err, out)
	}
}

func TestOpeningTheLibraryWritesNoFile(t *testing.T) {
	command, home := child(t, nil)
	mustOpen(t, command)
	err := filepath.WalkDir(home, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			t.Errorf("%s was written", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestALongCommandLineIsHarmless(t *testing.T) {
	args := make([]string, 1500)
	for i := range args {
		args[i] = strings.Repeat("a/", 20) + ".png"
	}
	command, _ := child(t, nil, args...)
	mustOpen(t, command)
}
