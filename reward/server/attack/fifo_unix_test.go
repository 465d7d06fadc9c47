//go:build unix

package attack_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/denseflow/densereward/reward/server/credentials"
)

func TestAFIFOForATokenFileDoesNotHangTheStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := credentials.OpenTokens(path); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("error %v", err)
	}
}
