package front

import (
	"errors"
	"sync/atomic"
)

// ErrStarting and ErrDraining are what Readiness reports before a server is warm and
// when it has begun to drain.
var (
	ErrStarting = errors.New("the model is being loaded")
	ErrDraining = errors.New("the server is shutting down")
)

// Readiness tells load balancers when a server should get requests: from the
// moment its model is warm to the moment it begins to drain. The zero value is
// not ready yet. Its Err is the Ready of a
// server's Config.
type Readiness struct {
	state atomic.Int32
}

const (
	starting int32 = iota
	ready
	draining
)

// Warm says that the model has answered once. It does not undo Drain.
func (r *Readiness) Warm() { r.state.CompareAndSwap(starting, ready) }

// Drain says that no more requests should come.
func (r *Readiness) Drain() { r.state.Store(draining) }

// Err is why the server should get no requests; nil when it should.
func (r *Readiness) Err() error {
	switch r.state.Load() {
	case starting:
		return ErrStarting
	case draining:
		return ErrDraining
	default:
		return nil
	}
}
