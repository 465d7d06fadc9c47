package ort

import (
	"runtime"
	"sync"
	"syscall"
	"testing"
)

// thread is the operating system thread on which f runs.
func thread(t *threads) (id int) {
	t.do(func() { id = syscall.Gettid() })
	return id
}

func TestRunsThatFollowEachOtherShareAThread(t *testing.T) {
	pool := &threads{}
	defer pool.close()
	first := thread(pool)
	var wait sync.WaitGroup
	for range 10 {
		wait.Go(func() {
			runtime.LockOSThread() // a thread of the caller's own, which ends here
			if id := thread(pool); id != first || id == syscall.Gettid() {
				t.Errorf("ran on thread %d, the one before on %d, the caller is on %d", id, first, syscall.Gettid())
			}
		})
		wait.Wait()
	}
}

func TestRunsAtATimeHaveThreadsOfTheirOwn(t *testing.T) {
	pool := &threads{}
	defer pool.close()
	var inner int
	outer := 0
	pool.do(func() { outer, inner = syscall.Gettid(), thread(pool) })
	if inner == outer {
		t.Errorf("two runs at a time on thread %d", inner)
	}
	if a, b := thread(pool), thread(pool); a != b {
		t.Errorf("runs that follow each other on threads %d and %d", a, b)
	}
}

func TestWithoutThreadsOfItsOwnARunIsOnTheCallers(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var none *threads
	if id := thread(none); id != syscall.Gettid() {
		t.Errorf("ran on thread %d, the caller is on %d", id, syscall.Gettid())
	}
	none.close()
}

func TestAPanicOnAThreadIsTheCallers(t *testing.T) {
	pool := &threads{}
	defer pool.close()
	defer func() {
		if p := recover(); p != "spilt milk" {
			t.Errorf("recovered %v", p)
		}
		thread(pool) // and the thread goes on
	}()
	pool.do(func() { panic("spilt milk") })
}
