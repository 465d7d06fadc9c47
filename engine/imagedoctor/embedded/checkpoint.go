// Package embedded lays out checkpoints that a program carries within itself. The
// evaluator reads weights from files where they lie, so an embedded checkpoint
// becomes a folder before use: [Checkpoint.Open] sees to that once per machine.
package embedded

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Checkpoint is a checkpoint's files, without folders.
type Checkpoint struct {
	Name  string // which the folder's name begins with
	Files fs.FS
}

// Open returns a folder that holds the checkpoint, unchanged. It lies in
// cacheDir, or in densereward of the user's cache folder where cacheDir is
// empty, and is named after the checkpoint's hash. A folder that is missing or
// damaged is written anew, whole or not at all, whatever other processes do
// meanwhile.
func (c Checkpoint) Open(cacheDir string) (dir string, err error) {
	if cacheDir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("%s: no cache folder to lay out the checkpoint in, XDG_CACHE_HOME can name one: %w", c.Name, err)
		}
		cacheDir = filepath.Join(user, "densereward")
	}
	key, err := c.hash()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(cacheDir, c.Name+"-"+key[:16])
	if c.intact(dir) {
		return dir, nil
	}
	if err := c.install(dir); err != nil && !c.intact(dir) {
		return "", fmt.Errorf("%s: laying out the checkpoint in the cache failed, XDG_CACHE_HOME can name another folder: %w", c.Name, err)
	}
	return dir, nil
}

// install replaces dir by a fresh copy of the checkpoint. It fails if another
// process puts its own copy there first.
func (c Checkpoint) install(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(filepath.Dir(dir), filepath.Base(dir)+"-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temp) }()
	fresh, stale := filepath.Join(temp, "fresh"), filepath.Join(temp, "stale")
	if err := c.Write(fresh); err != nil {
		return err
	}
	if err := os.Rename(fresh, dir); err == nil || c.intact(dir) {
		return nil
	}
	// A damaged folder is in the way. It cannot be renamed over, so it moves
	// aside.
	if err := os.Rename(dir, stale); err != nil {
		return err
	}
	return os.Rename(fresh, dir)
}

// Write lays out the checkpoint's files in dir, which it makes if need be.
func (c Checkpoint) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	return c.each(func(name string, data []byte) error {
		return os.WriteFile(filepath.Join(dir, name), data, 0o644)
	})
}

// Read returns one file of the checkpoint by its name.
func (c Checkpoint) Read(name string) ([]byte, error) {
	data, err := fs.ReadFile(c.Files, name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	return data, nil
}

// intact reports whether dir holds every file of the checkpoint, unchanged.
func (c Checkpoint) intact(dir string) bool {
	return c.each(func(name string, data []byte) error {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil && !bytes.Equal(got, data) {
			err = fmt.Errorf("%s was changed", name)
		}
		return err
	}) == nil
}

// hash is the hex SHA-256 of all names and contents.
func (c Checkpoint) hash() (string, error) {
	sum := sha256.New()
	err := c.each(func(name string, data []byte) error {
		_, err := fmt.Fprintf(sum, "%s %d\n%s", name, len(data), data)
		return err
	})
	return hex.EncodeToString(sum.Sum(nil)), err
}

// each calls f for every file in the order of their names until one fails.
func (c Checkpoint) each(f func(name string, data []byte) error) error {
	entries, err := fs.ReadDir(c.Files, ".")
	if err != nil {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	for _, entry := range entries {
		data, err := fs.ReadFile(c.Files, entry.Name())
		if err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		if err := f(entry.Name(), data); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	return nil
}
