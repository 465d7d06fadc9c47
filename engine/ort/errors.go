package ort

import (
	"errors"
	"fmt"
	"strings"

	"github.com/denseflow/densereward/reward"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrOutOfMemory is returned when a session's weights or a run's intermediate
	// tensors do not fit the device. The session stays usable. It is a
	// reward.ErrOutOfMemory, upon which a scheduler tries smaller batches.
	ErrOutOfMemory = fmt.Errorf("%w: use a smaller batch, or give the session a larger memory limit or another device", reward.ErrOutOfMemory)

	// ErrClosed is returned when a closed runtime or session is used.
	ErrClosed = errors.New("already closed")
)

// outOfMemory are the words by which ONNX Runtime and the libraries under it
// report that memory ran out. onnxruntime_go drops the status code, so that
// its text is all there is; nobody outside this room matches on it.
var outOfMemory = []string{
	"Failed to allocate memory for requested buffer",
	"is smaller than requested bytes",
	"out of memory",
	"ALLOC_FAILED",
	"the resource allocation failed", // cuBLAS 13's words for CUBLAS_STATUS_ALLOC_FAILED
	"DEVICE_ALLOCATION_FAILED",       // cuDNN 9's, beside the former
	"std::bad_alloc",
	"bad allocation",
}

// classify adds the sentinel that err's text calls for.
func classify(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for _, words := range outOfMemory {
		if strings.Contains(text, words) {
			return fmt.Errorf("%w (%w)", ErrOutOfMemory, err)
		}
	}
	if strings.Contains(text, "cuDNN is unavailable") {
		return fmt.Errorf("%w (%w)", missingError([]string{"libcudnn.so.9"}), err)
	}
	return err
}
