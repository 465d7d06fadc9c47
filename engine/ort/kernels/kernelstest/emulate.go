// Package kernelstest has tests run the custom operators without a GPU.
package kernelstest

import (
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/denseflow/densereward/engine/ort/kernels"
	"github.com/ebitengine/purego"
)

// Emulate compiles the kernels for the host and has the operators of sessions that the
// test opens on the CPU run there, until it ends. Tests that use it must not be parallel.
func Emulate(tb testing.TB) {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "emulate.so")
	folder := Folder(tb)
	command := exec.Command("cc", "-x", "c", "-std=gnu17", "-O2", "-shared", "-fPIC", "-I", filepath.Join(folder, "testdata"),
		"-o", path, filepath.Join(folder, "testdata", "emulate.c"), "-lm")
	if out, err := command.CombinedOutput(); err != nil {
		tb.Fatalf("compiling the kernels for the host: %v\n%s", err, out)
	}
	library, err := purego.Dlopen(path, purego.RTLD_NOW)
	if err != nil {
		tb.Fatal(err)
	}
	emulate, err := purego.Dlsym(library, "emulate")
	if err != nil {
		tb.Fatal(err)
	}
	kernels.Emulate(emulate)
	tb.Cleanup(func() { kernels.Emulate(0) })
}

var folder = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "list", "-f", "{{.Dir}}", "github.com/denseflow/densereward/engine/ort/kernels").Output()
	return strings.TrimSpace(string(out)), err
})

// Folder is where the sources of the kernels lie.
func Folder(tb testing.TB) string {
	tb.Helper()
	path, err := folder()
	if err != nil {
		tb.Fatalf("looking for the kernels' sources: %v", err)
	}
	return path
}
