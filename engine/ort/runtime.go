package ort

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/denseflow/densereward/engine/ort/provision"
	onnx "github.com/yalue/onnxruntime_go"
)

// Severity is the least severe kind of message that ONNX Runtime writes to
// standard error. Failures always come back as errors as well.
type Severity int

// Severities. The zero value is quiet: only what precedes a crash is written.
const (
	Quiet Severity = iota
	LogErrors
	LogWarnings
	LogInfo
	LogVerbose
)

func (s Severity) level() onnx.LoggingLevel {
	switch s {
	case LogErrors:
		return onnx.LoggingLevelError
	case LogWarnings:
		return onnx.LoggingLevelWarning
	case LogInfo:
		return onnx.LoggingLevelInfo
	case LogVerbose:
		return onnx.LoggingLevelVerbose
	}
	return onnx.LoggingLevelFatal
}

// process is the one environment that ONNX Runtime allows a process. It mirrors
// the global state of onnxruntime_go, which is why it cannot be a field. Once
// loaded a library stays: a process cannot safely let go of CUDA's libraries,
// which have threads and exit handlers of their own.
var process environment

type environment struct {
	mu   sync.Mutex
	path string // "" before the first load
}

// load starts the environment from the library at path, or joins it.
func (e *environment) load(path string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.path == path {
		return nil
	}
	if e.path != "" {
		return fmt.Errorf("onnx runtime is already loaded from %s; one process cannot load %s as well", e.path, path)
	}
	// From 1.29 on creating the environment starts telemetry, before a call could
	// turn it off: files in the user's cache folder, look-ups of a host name, and a
	// crash on long command lines. The variable is read by then.
	if err := os.Setenv("ORT_DISABLE_TELEMETRY", "1"); err != nil {
		return fmt.Errorf("disabling telemetry: %w", err)
	}
	onnx.SetSharedLibraryPath(path)
	if err := onnx.InitializeEnvironment(onnx.WithLogLevelFatal()); err != nil {
		return fmt.Errorf("loading onnx runtime from %s: %w", path, err)
	}
	// Windows has telemetry of its own, which only the call turns off.
	if err := onnx.DisableTelemetry(); err != nil {
		return errors.Join(fmt.Errorf("disabling telemetry: %w", err), onnx.DestroyEnvironment())
	}
	e.path = path
	return nil
}

// Runtime is a loaded ONNX Runtime library. It is safe for concurrent use.
type Runtime struct {
	library provision.Library
	closed  atomic.Bool
}

// Open loads the library. Opening the same library again shares it; opening
// another one in the same process is an error.
func Open(lib provision.Library) (*Runtime, error) {
	if lib.Path == "" {
		return nil, fmt.Errorf("%w: the library has no path", provision.ErrNotFound)
	}
	if err := process.load(lib.Path); err != nil {
		return nil, err
	}
	return &Runtime{library: lib}, nil
}

func (r *Runtime) Library() provision.Library { return r.library }

// Version is the library's own version, such as "1.29.0".
func (r *Runtime) Version() string { return onnx.GetVersion() }

// Close ends the making of sessions. Those that are open work on until they are
// closed. Closing twice is harmless.
func (r *Runtime) Close() error {
	r.closed.Store(true)
	return nil
}
