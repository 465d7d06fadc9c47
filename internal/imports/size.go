package imports

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// The size at which a package asks to be two.
const (
	MaxLines = 2500 // of a package, without tests and generated files
	MaxFiles = 40   // Go files of a folder, with tests
)

// Oversized returns a line for each folder that is larger than it may be.
func Oversized(tree fs.FS) ([]string, error) {
	lines, files := map[string]int{}, map[string]int{}
	err := walkAll(tree, func(name string) error {
		folder := path.Dir(name)
		files[folder]++
		if strings.HasSuffix(name, "_test.go") {
			return nil
		}
		source, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		if !bytes.Contains(source, []byte("\n// Code generated ")) && !bytes.HasPrefix(source, []byte("// Code generated ")) {
			lines[folder] += bytes.Count(source, []byte{'\n'})
		}
		return nil
	})
	var large []string
	for _, folder := range slices.Sorted(maps.Keys(files)) {
		if n := lines[folder]; n > MaxLines {
			large = append(large, fmt.Sprintf("%s has %d lines without tests, at most %d", folder, n, MaxLines))
		}
		if n := files[folder]; n > MaxFiles {
			large = append(large, fmt.Sprintf("%s has %d Go files, at most %d", folder, n, MaxFiles))
		}
	}
	return large, err
}
