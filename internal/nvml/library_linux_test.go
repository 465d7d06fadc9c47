package nvml_test

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/denseflow/densereward/internal/nvml"
)

// build makes a library of testdata whose start gives a code.
func build(t *testing.T, start string) string {
	t.Helper()
	library := filepath.Join(t.TempDir(), "libnvml.so")
	command := exec.CommandContext(t.Context(), "gcc", "-shared", "-fPIC", "-DSTART="+start, "-o", library, "testdata/nvml.c")
	if text, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return library
}

func TestGPUsTellTheirMemory(t *testing.T) {
	l, err := nvml.Open(build(t, "0"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := l.Memory()
	if want := []nvml.Memory{{Used: 1 << 30, Total: 80 << 30}, {Used: 2 << 30, Total: 80 << 30}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if err == nil || !strings.Contains(err.Error(), "GPU 2: error 15") {
		t.Errorf("a GPU that is lost: %v", err)
	}
}

func TestWithoutADriverOpeningFails(t *testing.T) {
	for name, want := range map[string]string{"libnowhere.so.1": "libnowhere", build(t, "9"): "error 9", "libm.so.6": "nvml"} {
		if _, err := nvml.Open(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
