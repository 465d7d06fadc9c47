package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/denseflow/densereward/cmd/densereward/cli"
	"github.com/denseflow/densereward/engine/ort/orttest"
)

func TestALibraryThatEndsAProcessIsCalledCorrupt(t *testing.T) {
	whole, err := os.ReadFile(orttest.Library(t).Path)
	if err != nil {
		t.Fatal(err)
	}
	own := append(whole, 0) // so that it is no published build
	zeroed := bytes.Clone(own)
	clear(zeroed[len(zeroed)*2/5 : len(zeroed)*3/5])
	t.Setenv(asProgram, "1")
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	// In a process of its own, for this one may have loaded another.
	out, err := exec.CommandContext(t.Context(), program, "version", "--onnxruntime", path("own.so", own)).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "works") {
		t.Errorf("a build of one's own: %v: %s", err, out)
	}
	var said bytes.Buffer
	args := []string{"score", "--model", nanoDir, "--onnxruntime", path("zeroed.so", zeroed), "--prompt", "a cat", demoImages()[0]}
	code := run(t.Context(), args, cli.Terminal{Out: io.Discard, Err: &said, Program: program})
	if code != exitFailure || !strings.Contains(said.String(), "corrupt") {
		t.Errorf("one zeroed in its middle: code %d: %s", code, said.String())
	}
}
