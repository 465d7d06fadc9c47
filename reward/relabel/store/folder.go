package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/denseflow/densereward/reward/relabel"
)

// Folder is a store in a folder of this machine. A file that is being written is
// called .NAME.partial, beside where it will be.
type Folder string

var _ relabel.Store = Folder("")

// partialSuffix marks files that a killed run may have left; the next one that
// writes the same file replaces it.
const partialSuffix = ".partial"

// path is where a file lies; absolute names, which data sets may hold, are paths.
func (f Folder) path(name string) string {
	name = filepath.FromSlash(name)
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(string(f), name)
}

// Address is the file's absolute path, links followed as far as it exists.
func (f Folder) Address(name string) string {
	path := f.path(name)
	if whole, err := filepath.Abs(path); err == nil {
		path = whole
	}
	folder, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return path
	}
	return filepath.Join(folder, filepath.Base(path))
}

// String is the folder's path.
func (f Folder) String() string { return string(f) }

// List visits the files of the folder whose names begin with prefix.
func (f Folder) List(ctx context.Context, prefix string, visit func(name string, size int64) error) error {
	root := string(f)
	if at := strings.LastIndexByte(prefix, '/'); at >= 0 {
		root = f.path(prefix[:at])
	}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(string(f), path)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if !strings.HasPrefix(name, prefix) || strings.HasSuffix(name, partialSuffix) {
			return nil
		}
		info, err := os.Stat(path) // follows links
		if err != nil || info.IsDir() {
			return err
		}
		return visit(name, info.Size())
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (f Folder) Open(_ context.Context, name string) (relabel.Object, error) {
	file, err := os.Open(f.path(name))
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &localFile{file, info.Size()}, nil
}

type localFile struct {
	*os.File
	size int64
}

func (o *localFile) Size() int64 { return o.size }

// Create begins a file.
func (f Folder) Create(_ context.Context, name string) (relabel.Upload, error) {
	target := f.path(name)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return nil, err
	}
	partial := filepath.Join(filepath.Dir(target), "."+filepath.Base(target)+partialSuffix)
	file, err := os.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, err
	}
	return &localUpload{File: file, target: target}, nil
}

type localUpload struct {
	*os.File
	target string
}

// Commit syncs the file, renames it and syncs its folder.
func (u *localUpload) Commit() error {
	if err := errors.Join(u.Sync(), u.Close()); err != nil {
		return errors.Join(err, os.Remove(u.Name()))
	}
	if err := os.Rename(u.Name(), u.target); err != nil {
		return errors.Join(err, os.Remove(u.Name()))
	}
	return syncFolder(filepath.Dir(u.target))
}

// syncFolder makes a rename durable, where the system lets folders be synced.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	err = folder.Sync()
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrInvalid) {
		err = nil
	}
	return errors.Join(err, folder.Close())
}

// Abort removes the file.
func (u *localUpload) Abort() {
	_ = u.Close()           // nothing of it is kept
	_ = os.Remove(u.Name()) // the next Create replaces it
}

// Write writes a file.
func (f Folder) Write(ctx context.Context, name string, data []byte) error {
	upload, err := f.Create(ctx, name)
	if err != nil {
		return err
	}
	if _, err := upload.Write(data); err != nil {
		upload.Abort()
		return err
	}
	return upload.Commit()
}

// Remove deletes a file.
func (f Folder) Remove(_ context.Context, name string) error {
	if err := os.Remove(f.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing from %s: %w", f, err)
	}
	return nil
}
