package kernels_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestThePTXIsWhatTheSourcesCompileTo(t *testing.T) {
	names := kernelNames(t)
	for file, of := range map[string]struct {
		target  string
		kernels []string
	}{"kernels": {"sm_80", names[:5]}, "fp8": {"sm_89", names[5:]}} {
		sum := sha256.Sum256([]byte(read(t, file+".cu") + read(t, "kernels.h")))
		first, ptx, _ := strings.Cut(read(t, file+".ptx"), "\n")
		if want := "// sources: " + hex.EncodeToString(sum[:]); first != want {
			t.Errorf("%s.ptx is of %q, the sources are %q: build.sh makes it anew", file, first, want)
		}
		for _, kernel := range of.kernels {
			if !strings.Contains(ptx, ".entry "+kernel+"(") {
				t.Errorf("%s.ptx has no kernel %s", file, kernel)
			}
		}
		for _, line := range []string{".version 9.0\n", ".target " + of.target + "\n"} {
			if !strings.Contains(ptx, line) {
				t.Errorf("%s.ptx lacks %q, which drivers of CUDA 13.0 and the oldest cards must read", file, line)
			}
		}
	}
}

// kernelNames are those that the launcher looks for.
func kernelNames(t *testing.T) []string {
	t.Helper()
	list := regexp.MustCompile(`names\[KERNELS\] = \{(.*)\}`).FindStringSubmatch(read(t, "launcher_linux.c"))
	if list == nil {
		t.Fatal("the launcher has no list of kernels")
	}
	var names []string
	for _, name := range strings.Split(list[1], ", ") {
		names = append(names, strings.Trim(name, `"`))
	}
	return names
}

// TestTheInterfacesAreThoseOfTheRuntime has a C compiler hold abi.h against the header of
// the runtime's that onnxruntime_go brings.
func TestTheInterfacesAreThoseOfTheRuntime(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/yalue/onnxruntime_go").Output()
	if err != nil {
		t.Fatal(err)
	}
	source := "#include <stddef.h>\n#include <onnxruntime_c_api.h>\n#define SAME(a, b) _Static_assert((a) == (b), #a \" is not \" #b)\n"
	abi := read(t, "abi.h")
	places := regexp.MustCompile(`F\((\w+), (\d+), `).FindAllStringSubmatch(abi, -1)
	if len(places) < 10 {
		t.Fatalf("abi.h names %d functions", len(places))
	}
	for _, f := range places {
		source += fmt.Sprintf("SAME(offsetof(OrtApi, %s), %s * sizeof(void *));\n", f[1], f[2])
	}
	layout := abi[strings.Index(abi, "struct OrtCustomOp {"):]
	layout = layout[:strings.Index(layout, "};")]
	members := regexp.MustCompile(`\(\*(\w+)\)\(|\*(\w+)[,;]`).FindAllStringSubmatch(layout, -1)
	for i, m := range members {
		source += fmt.Sprintf("SAME(offsetof(OrtCustomOp, %s), %d * sizeof(void *));\n", m[1]+m[2], i+1) // behind the version
	}
	source += fmt.Sprintf("SAME(sizeof(OrtCustomOp), %d * sizeof(void *));\n", len(members)+1)
	for name, value := range map[string]string{
		"ORT_FAIL": "1", "ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT": "1", "ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64": "7", "ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL": "9",
		"ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16": "10", "ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16": "16",
		"INPUT_OUTPUT_OPTIONAL": "1", "INPUT_OUTPUT_VARIADIC": "2", "OrtMemTypeCPUInput": "-2", "OrtMemTypeDefault": "0",
	} {
		source += fmt.Sprintf("SAME(%s, %s);\n", name, value)
	}
	path := filepath.Join(t.TempDir(), "same.c")
	if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cc", "-fsyntax-only", "-I", strings.TrimSpace(string(out)), path).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
