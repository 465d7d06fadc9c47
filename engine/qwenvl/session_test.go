package qwenvl

import (
	"errors"
	"fmt"
	"testing"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/reward"
)

func TestRunningOutOfMemoryIsTold(t *testing.T) {
	err := MemoryError(fmt.Errorf("session: %w", ort.ErrOutOfMemory))
	if !errors.Is(err, reward.ErrOutOfMemory) || !errors.Is(err, ort.ErrOutOfMemory) {
		t.Errorf("%v is not the scheduler's error", err)
	}
	if other := errors.New("other"); MemoryError(other) != other || MemoryError(nil) != nil {
		t.Error("other errors are changed")
	}
}

func TestPagesAreTheLeastThatTheKernelTakes(t *testing.T) {
	for size, want := range map[int]int64{16: 256, 64: 256, 80: 128, 128: 128, 256: 64} {
		if got := pageTokens(size); got != want {
			t.Errorf("heads of %d: pages of %d tokens, want %d", size, got, want)
		}
	}
}
