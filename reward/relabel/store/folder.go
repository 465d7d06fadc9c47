package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
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

// List visits the files of the folder whose names begin with prefix, in the order of
// their names. Links to folders are followed, but not back to where they lie; a link
// that leads nowhere is a file of no bytes, which cannot be opened.
func (f Folder) List(ctx context.Context, prefix string, visit func(name string, size int64) error) error {
	below := ""
	if at := strings.LastIndexByte(prefix, '/'); at >= 0 {
		below = prefix[:at]
	}
	if _, err := os.Stat(f.path(below)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return f.list(ctx, below, nil, func(name string, size int64) error {
		if !strings.HasPrefix(name, prefix) || strings.HasSuffix(name, partialSuffix) {
			return nil
		}
		return visit(name, size)
	})
}

// list visits the files below a folder; above are the folders that lead there, to
// which no link is followed.
func (f Folder) list(ctx context.Context, folder string, above []os.FileInfo, visit func(name string, size int64) error) error {
	self, err := os.Stat(f.path(folder))
	if err != nil {
		return err
	}
	if slices.ContainsFunc(above, func(other os.FileInfo) bool { return os.SameFile(self, other) }) {
		return nil
	}
	entries, err := os.ReadDir(f.path(folder))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := path.Join(folder, entry.Name())
		info, err := os.Stat(f.path(name)) // follows links
		switch {
		case errors.Is(err, fs.ErrNotExist) && entry.Type()&fs.ModeSymlink != 0:
			err = visit(name, 0)
		case errors.Is(err, fs.ErrNotExist): // it was removed meanwhile
			continue
		case err == nil && info.IsDir():
			err = f.list(ctx, name, append(slices.Clip(above), self), visit)
		case err == nil:
			err = visit(name, info.Size())
		}
		if err != nil {
			return err
		}
	}
	return nil
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

// syncFolder makes a rename durable, where the system lets folders be synced: Windows
// denies it.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
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
