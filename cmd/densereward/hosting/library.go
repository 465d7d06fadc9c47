package hosting

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"time"

	"github.com/denseflow/densereward/cmd/densereward/cli"
	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/provision"
)

// trialTime is how long a library may take to be loaded and to add two numbers.
const trialTime = time.Minute

// tried has a process of its own load a library that is no published build, whose digest
// nobody knows: one that is damaged ends the process that loads it, without a word that
// helps.
func tried(ctx context.Context, t cli.Terminal, library provision.Library) error {
	if library.Known || t.Program == "" {
		return nil
	}
	timed, cancel := context.WithTimeout(ctx, trialTime)
	defer cancel()
	var said bytes.Buffer
	trial := exec.CommandContext(timed, t.Program, "version", "--onnxruntime", library.Path)
	trial.Env = append(os.Environ(), "GOTRACEBACK=none")
	trial.Stderr = &said
	err := trial.Run()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case timed.Err() != nil:
		return fmt.Errorf("%w: %s: a process that loaded it to try it had not done so after %v", provision.ErrCorrupt, library.Path, trialTime)
	}
	if fault := crashed(trial, said.Bytes()); err != nil && fault != "" {
		return fmt.Errorf("%w: %s: a process that loaded it to try it ended with %s", provision.ErrCorrupt, library.Path, fault)
	}
	return nil // what else is wrong, loading it says better
}

var fatalSignal = regexp.MustCompile(`(?m)^(SIG[A-Z]+|fatal error)\b.*$`)

// crashed is the signal or fault that ended a process, "" if it ended by itself.
func crashed(c *exec.Cmd, said []byte) string {
	if fault := fatalSignal.Find(said); fault != nil {
		return string(fault)
	}
	if c.ProcessState != nil && !c.ProcessState.Exited() {
		return c.ProcessState.String()
	}
	return ""
}

// TryLibrary loads a library of ONNX Runtime, has it add two numbers, and gives its
// version.
func TryLibrary(ctx context.Context, path string) (version string, err error) {
	library, err := provision.Find(ctx, provision.Options{Path: path, Offline: true})
	if err != nil {
		return "", err
	}
	runtime, err := ort.Open(library)
	if err != nil {
		return "", err
	}
	defer func() { _ = runtime.Close() }() // which cannot fail
	g := onnx.New("trial")
	x := g.Input("x", onnx.Float32, onnx.Shape{onnx.N(1)})
	g.Output("y", g.Add(x, x))
	model, err := g.Marshal()
	if err != nil {
		return "", err
	}
	session, err := runtime.NewSession(model, []string{"x"}, []string{"y"}, ort.SessionOptions{Threads: 1})
	if err != nil {
		return "", err
	}
	defer func() { _ = session.Close() }()
	sums, err := session.Run(ctx, []ort.Tensor{ort.Float32s([]int64{1}, []float32{1})})
	if err != nil {
		return "", err
	}
	if got := sums[0].Float32s()[0]; got != 2 {
		return "", fmt.Errorf("%w: %s: one and one are %v", provision.ErrCorrupt, path, got)
	}
	return runtime.Version(), nil
}
