//go:build unix

package modelfile

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"
)

func TestAPipeIsNotWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokenizer.json")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path, 8); !errors.Is(err, ErrNotRegular) {
		t.Errorf("error %v", err)
	}
}
