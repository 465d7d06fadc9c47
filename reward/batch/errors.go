package batch

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/denseflow/densereward/reward"
)

// Errors of this package wrap the reward.Error that stands for them on the
// wire.
var (
	// ErrClosed is returned by Score after Shutdown, and for requests that
	// Shutdown did not wait for. It is a reward.ErrNotReady.
	ErrClosed = reward.ErrNotReady.With("the server is shutting down")

	// ErrNoImage is the error of a sample that has neither Image nor Load, or
	// whose Load gave none.
	ErrNoImage = errors.New("batch: sample has no image")
)

// An OverloadError is returned by Score when the queue has no room. It is a
// reward.ErrOverloaded.
type OverloadError struct {
	// RetryAfter is when there should be room, by the rate of late. At least
	// a second.
	RetryAfter time.Duration
	// Samples and Bytes are what the queue held.
	Samples int
	Bytes   int64
}

func (e *OverloadError) Error() string {
	return fmt.Sprintf("batch: queue is full with %d samples in %d bytes; retry in %v", e.Samples, e.Bytes, e.RetryAfter)
}

// Unwrap is the error on the wire.
func (e *OverloadError) Unwrap() error { return reward.ErrOverloaded }

// A PanicError is a panic that was caught. Its text does not hold the stack.
type PanicError struct {
	Where string // "load", "prepare" or "evaluate"
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("batch: panic in %s: %v", e.Where, e.Value) }

// contain runs f and turns its panic into a *PanicError.
func contain(where string, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Where: where, Value: v, Stack: debug.Stack()}
		}
	}()
	return f()
}

// isPanic reports whether err came from contain.
func isPanic(err error) bool {
	var p *PanicError
	return errors.As(err, &p)
}
