// Package modelfile reads the files of a model's folder that are read whole: with a
// limit, without waiting on pipes, and telling the small text files that stand in a
// clone for large files that have not been fetched.
package modelfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// ErrNotRegular is returned for folders, pipes and devices.
var ErrNotRegular = errors.New("not a regular file")

// Open opens a file after checking that it is one: opening a pipe would wait for
// ever.
func Open(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w", path, ErrNotRegular)
	}
	return os.Open(path)
}

// Read reads a whole file of at most limit bytes. A pointer to a file is an
// ErrPointer.
func Read(path string, limit int64) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s exceeds the limit of %d bytes", path, limit)
	}
	if err := CheckPointer(data); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, nil
}

// ErrPointer is returned for a file that stands for another.
var ErrPointer = errors.New("a pointer to the file, not the file")

// pointers are the first bytes of pointers and what fetches the files.
var pointers = []struct{ prefix, name, remedy string }{
	{"version https://git-lfs.github.com/spec/", "Git LFS", "git lfs pull"},
	{"version https://hawser.github.com/spec/", "Git LFS", "git lfs pull"}, // its first name
	{"/annex/objects/", "git-annex", "git annex get"},
	{"# xet version ", "Xet", "git xet checkout"},
}

// CheckPointer returns an ErrPointer that names the kind and the remedy if a file that
// begins with head is a pointer. 64 bytes of head are enough.
func CheckPointer(head []byte) error {
	for _, k := range pointers {
		if bytes.HasPrefix(head, []byte(k.prefix)) {
			return fmt.Errorf("%w: %s has not fetched it yet; run `%s`", ErrPointer, k.name, k.remedy)
		}
	}
	return nil
}
