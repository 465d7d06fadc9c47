package pointerfile

import (
	"errors"
	"strings"
	"testing"
)

func TestPointersAreToldFromFiles(t *testing.T) {
	tests := []struct{ name, head, says string }{
		{"Git LFS", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git lfs pull"},
		{"git-annex", "/annex/objects/SHA256E-s1--00.safetensors\n", "git annex get"},
		{"Xet", "# xet version 0\nfilesize = 1\n", "Xet"},
		{"JSON", `{"version": "https://git-lfs.github.com/spec/v1"}`, ""},
		{"nothing", "", ""},
		{"a cut pointer", "version https://git", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := Check([]byte(test.head))
			if (test.says != "") != errors.Is(err, ErrPointer) || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v", err)
			}
		})
	}
}
