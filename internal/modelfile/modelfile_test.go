package modelfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
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
			err := CheckPointer([]byte(test.head))
			if (test.says != "") != errors.Is(err, ErrPointer) || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestFilesAreReadWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.json")
	for _, c := range []struct{ data, want string }{
		{"12345678", ""},
		{"123456789", "exceeds the limit of 8 bytes"},
		{"version https://git-lfs.github.com/spec/v1\n", "exceeds"},
	} {
		data, want := c.data, c.want
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Read(path, 8)
		if want == "" && (err != nil || string(got) != data) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %q, %v", data, got, err)
		}
	}
	if _, err := Read(path, 100); !errors.Is(err, ErrPointer) || !strings.Contains(err.Error(), path) {
		t.Errorf("a pointer: %v", err)
	}
	if _, err := Read(dir, 8); !errors.Is(err, ErrNotRegular) {
		t.Errorf("a folder: %v", err)
	}
	if _, err := Read(path+"x", 8); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
}
