package ort

import (
	"errors"
	"fmt"
	"sync"

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

// process is the one environment that ONNX Runtime allows a process, shared by
// every Runtime and kept while a Runtime or a Session uses it. It mirrors the
// global state of onnxruntime_go, which is why it cannot be a field.
var process environment

type environment struct {
	mu    sync.Mutex
	users int
	path  string
}

// acquire starts the environment from the library at path or joins the one
// that runs already.
func (e *environment) acquire(path string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.users > 0 {
		if path != e.path {
			return fmt.Errorf("onnx runtime is already loaded from %s; one process cannot load %s as well", e.path, path)
		}
		e.users++
		return nil
	}
	onnx.SetSharedLibraryPath(path)
	if err := onnx.InitializeEnvironment(onnx.WithLogLevelFatal()); err != nil {
		return fmt.Errorf("loading onnx runtime from %s: %w", path, err)
	}
	// Off is the default outside Windows; there the call must say so.
	if err := onnx.DisableTelemetry(); err != nil {
		return errors.Join(fmt.Errorf("disabling telemetry: %w", err), onnx.DestroyEnvironment())
	}
	e.users, e.path = 1, path
	return nil
}

// retain adds a user to an environment that has one.
func (e *environment) retain() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.users++
}

// release takes one user away; the last one ends the environment.
func (e *environment) release() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.users--
	if e.users > 0 {
		return nil
	}
	return onnx.DestroyEnvironment()
}

// Runtime is a loaded ONNX Runtime library. It is safe for concurrent use.
type Runtime struct {
	library Library

	mu     sync.Mutex
	closed bool
}

// Open loads the library. Opening the same library again shares it; opening
// another one while the first is in use is an error.
func Open(lib Library) (*Runtime, error) {
	if err := process.acquire(lib.Path); err != nil {
		return nil, err
	}
	return &Runtime{library: lib}, nil
}

// Library is what the runtime was opened with.
func (r *Runtime) Library() Library { return r.library }

// Version is the library's own version, such as "1.29.0".
func (r *Runtime) Version() string { return onnx.GetVersion() }

// Close lets the library go. Sessions that are still open keep it loaded until
// they are closed. Closing twice is harmless.
func (r *Runtime) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	return process.release()
}

// retain takes a reference for a session, so that closing the runtime first
// does not pull the library from under it.
func (r *Runtime) retain() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return fmt.Errorf("runtime: %w", ErrClosed)
	}
	process.retain()
	return nil
}
