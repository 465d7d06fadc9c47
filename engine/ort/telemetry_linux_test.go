package ort_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/denseflow/densereward/engine/ort/orttest"
)

// needs skips a test on machines that cannot run it, but fails in CI.
func needs(t *testing.T, ok bool, what string) {
	t.Helper()
	if !ok && os.Getenv("CI") == "true" {
		t.Fatalf("CI must have %s", what)
	}
	if !ok {
		t.Skipf("needs %s", what)
	}
}

// forbidden are system calls that write, change folders, reach the network or look
// a name up.
var forbidden = []*regexp.Regexp{
	regexp.MustCompile(`\b(socket|connect|sendto|bind)\(`),
	regexp.MustCompile(`open(at)?\(.*O_(WRONLY|RDWR|CREAT)`),
	regexp.MustCompile(`\b(mkdir|unlink|rename|chmod|link|symlink|truncate)(at2?)?\(`),
	regexp.MustCompile(`/etc/(resolv\.conf|hosts|nsswitch\.conf|machine-id)|/var/lib/dbus`),
}

func TestOpeningTheLibraryReachesNeitherNetworkNorFiles(t *testing.T) {
	_, err := exec.LookPath("strace")
	needs(t, err == nil, "strace")
	trace := filepath.Join(t.TempDir(), "trace")
	command, _ := child(t, []string{"strace", "-f", "-qq", "-e", "trace=%file,%network", "-o", trace})
	mustOpen(t, command)
	calls, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(calls), orttest.Library(t).Path) {
		t.Fatalf("strace saw no library opened:\n%.2000s", calls)
	}
	for line := range strings.Lines(string(calls)) {
		if strings.Contains(line, `"/dev/null"`) {
			continue // what the Go runtime opens as standard input
		}
		for _, pattern := range forbidden {
			if pattern.MatchString(line) {
				t.Errorf("%s", strings.TrimSpace(line))
			}
		}
	}
}

// TestARootWithoutShellAndMachineIDIsEnough opens the library in a root that holds
// nothing but what the loader needs, as in a container made from scratch.
func TestARootWithoutShellAndMachineIDIsEnough(t *testing.T) {
	needs(t, os.Geteuid() == 0, "root, to change the root folder")
	command, home := child(t, nil)
	root := t.TempDir()
	library := orttest.Library(t).Path
	for _, file := range []string{command.Path, library} {
		copyInto(t, root, file)
		listed, err := exec.Command("ldd", file).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range regexp.MustCompile(`(/\S+) \(0x`).FindAllStringSubmatch(string(listed), -1) {
			copyInto(t, root, path[1])
		}
	}
	if err := os.MkdirAll(filepath.Join(root, home, "tmp"), 0o755); err != nil {
		t.Fatal(err)
	}
	command.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	command.Dir = "/"
	mustOpen(t, command)
}

// copyInto copies a file to its path below root.
func copyInto(t *testing.T, root, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(root, file)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o755); err != nil {
		t.Fatal(err)
	}
}
