package qwenvl

import "testing"

func TestPagesAreTheLeastThatTheKernelTakes(t *testing.T) {
	for size, want := range map[int]int64{16: 256, 64: 256, 80: 128, 128: 128, 256: 64} {
		if got := pageTokens(size); got != want {
			t.Errorf("heads of %d: pages of %d tokens, want %d", size, got, want)
		}
	}
}
