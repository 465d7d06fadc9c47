package ort

import (
	"runtime"
	"sync"
)

// threads are the operating system threads that run a session on a GPU, as many
// as there are runs at a time. ONNX Runtime keeps handles of cuBLAS and cuDNN for
// each thread that it meets, megabytes of the device each, and goroutines
// wander between threads: without this, a server would make new handles long
// after its start, and fail where others have the memory by then. nil threads
// leave the work to the caller's.
type threads struct {
	mu   sync.Mutex
	idle []chan func() // the one used last is the last
}

// do runs f on one of the threads and waits for it. A panic of f is the caller's.
func (t *threads) do(f func()) {
	if t == nil {
		f()
		return
	}
	thread := t.take()
	var panicked any
	done := make(chan struct{})
	thread <- func() {
		defer close(done)
		defer func() { panicked = recover() }()
		f()
	}
	<-done
	t.mu.Lock()
	t.idle = append(t.idle, thread)
	t.mu.Unlock()
	if panicked != nil {
		panic(panicked)
	}
}

// take is a thread that is idle, or a new one.
func (t *threads) take() chan func() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last := len(t.idle) - 1; last >= 0 {
		thread := t.idle[last]
		t.idle = t.idle[:last]
		return thread
	}
	thread := make(chan func())
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		for f := range thread {
			f()
		}
	}()
	return thread
}

// close ends the threads, all of which are idle.
func (t *threads) close() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, thread := range t.idle {
		close(thread)
	}
	t.idle = nil
}
