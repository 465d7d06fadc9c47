// Package pointerfile tells the small text files that stand in a clone for large
// files that have not been fetched.
package pointerfile

import (
	"bytes"
	"errors"
	"fmt"
)

// ErrPointer is returned for a file that stands for another.
var ErrPointer = errors.New("a pointer to the file, not the file")

// kinds are the first bytes of pointers and what fetches the files.
var kinds = []struct{ prefix, name, remedy string }{
	{"version https://git-lfs.github.com/spec/", "Git LFS", "git lfs pull"},
	{"version https://hawser.github.com/spec/", "Git LFS", "git lfs pull"}, // its first name
	{"/annex/objects/", "git-annex", "git annex get"},
	{"# xet version ", "Xet", "git xet checkout"},
}

// Check returns an ErrPointer that names the kind and the remedy if a file that
// begins with head is a pointer. 64 bytes of head are enough.
func Check(head []byte) error {
	for _, k := range kinds {
		if bytes.HasPrefix(head, []byte(k.prefix)) {
			return fmt.Errorf("%w: %s has not fetched it yet; run `%s`", ErrPointer, k.name, k.remedy)
		}
	}
	return nil
}
