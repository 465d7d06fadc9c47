package safetensors

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// ErrChanged is returned when a file of a checkpoint is not what it was when the
// checkpoint was opened.
var ErrChanged = errors.New("weights have changed on disk since they were opened")

// FromTensors makes a checkpoint of tensors that lie in the open file f, which is of
// another format. Names must differ, and their places lie within the file.
func FromTensors(f *os.File, tensors []Tensor) (*Checkpoint, error) {
	path, err := filepath.EvalSymlinks(f.Name())
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	c := &Checkpoint{tensors: make(map[string]Tensor, len(tensors)), files: []openedFile{{path, info}}}
	for _, t := range tensors {
		if _, twice := c.tensors[t.Name]; twice || t.Offset < 0 || t.Length < 0 || t.Length > info.Size()-t.Offset {
			return nil, at(path, tensorError(t.Name, "%d bytes at %d in a file of %d", t.Length, t.Offset, info.Size()))
		}
		t.Path = path
		c.tensors[t.Name] = t
	}
	c.names = slices.Sorted(maps.Keys(c.tensors))
	return c, c.settle()
}

// Folder is the innermost folder that holds all files: another one than the
// checkpoint's where that has links, as a hub's cache has.
func (c *Checkpoint) Folder() string { return c.folder }

// settle finds the folder that holds all files and each tensor's path from there.
func (c *Checkpoint) settle() error {
	for i, f := range c.files {
		dir := filepath.Dir(f.path)
		if i == 0 {
			c.folder = dir
		}
		for !holds(c.folder, dir) {
			outer := filepath.Dir(c.folder)
			if outer == c.folder {
				return fmt.Errorf("safetensors: no folder holds both %s and %s", c.files[0].path, f.path)
			}
			c.folder = outer
		}
	}
	for name, t := range c.tensors {
		relative, err := filepath.Rel(c.folder, t.Path)
		if err != nil {
			return fmt.Errorf("safetensors: %w", err)
		}
		t.File = filepath.ToSlash(relative)
		c.tensors[name] = t
	}
	return nil
}

// holds reports whether dir is outer or lies below it.
func holds(outer, dir string) bool {
	relative, err := filepath.Rel(outer, dir)
	return err == nil && filepath.IsLocal(relative)
}

// Unchanged returns an ErrChanged that names the file if one of the files has been
// replaced, written to, cut or removed since the checkpoint was opened. What else
// has been read of it by then, such as its fingerprint, is of other weights.
func (c *Checkpoint) Unchanged() error {
	for _, f := range c.files {
		info, err := os.Stat(f.path)
		if err != nil {
			return fmt.Errorf("safetensors: %w: %w", ErrChanged, err)
		}
		if !os.SameFile(info, f.info) || info.Size() != f.info.Size() || !info.ModTime().Equal(f.info.ModTime()) {
			return fmt.Errorf("safetensors: %w: %s", ErrChanged, f.path)
		}
	}
	return nil
}

// Rename returns the checkpoint with each tensor under the name that rename gives
// it. Two tensors of one name are an error.
func (c *Checkpoint) Rename(rename func(name string) string) (*Checkpoint, error) {
	renamed := *c
	renamed.tensors = make(map[string]Tensor, len(c.tensors))
	was := make(map[string]string, len(c.tensors))
	for _, name := range c.names {
		t := c.tensors[name]
		t.Name = rename(name)
		if other, taken := was[t.Name]; taken {
			return nil, fmt.Errorf("safetensors: tensors %q and %q both stand for %q", other, name, t.Name)
		}
		was[t.Name], renamed.tensors[t.Name] = name, t
	}
	renamed.names = slices.Sorted(maps.Keys(renamed.tensors))
	return &renamed, nil
}
