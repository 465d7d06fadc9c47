package provision

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// cache is the folder that keeps the libraries, one folder a release.
type cache struct{ dir string }

// lock keeps other processes from filling the cache at the same time. The
// operating system lets go of it when a process dies.
func (c cache) lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return nil, err
	}
	file := flock.New(filepath.Join(c.dir, ".lock"))
	if _, err := file.TryLockContext(ctx, 100*time.Millisecond); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("waiting for another process to fetch onnx runtime: %w", err)
		}
		return nil, fmt.Errorf("locking %s: %w", file.Path(), err)
	}
	return func() { _ = file.Close() }, nil
}

// verify returns nil if folder has every file of a, unchanged. The error is an
// fs.ErrNotExist where one is missing, and an ErrCorrupt where one is damaged.
func (c cache) verify(folder string, a archive) error {
	for _, f := range a.files {
		path := filepath.Join(c.dir, folder, f.name)
		want := f.sha256
		if want == "" {
			recorded, err := os.ReadFile(path + digestSuffix)
			if err != nil {
				return err
			}
			want = strings.TrimSpace(string(recorded))
		}
		got, err := digest(path)
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("%w: the sha-256 of %s is %s, want %s", ErrCorrupt, path, got, want)
		}
	}
	return nil
}

// digestSuffix ends the name of the file that keeps the digest of a library
// whose archive was pinned as a whole.
const digestSuffix = ".sha256"

func digest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// store unpacks a's files from the archive at path into folder. A file appears
// under its name only when it is whole and its digest is the pinned one. The
// archive is read no further than the last of them.
func (c cache) store(folder string, a archive, path string) error {
	if a.sha256 != "" {
		got, err := digest(path)
		if err != nil {
			return err
		}
		if got != a.sha256 {
			return fmt.Errorf("the archive's sha-256 is %s, pinned is %s", got, a.sha256)
		}
	}
	dir := filepath.Join(c.dir, folder)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	missing := map[string]bool{}
	for _, f := range a.files {
		missing[f.member] = true
	}
	err := unpack(path, func(member string, r io.Reader) error {
		for _, f := range a.files {
			if missing[f.member] && (member == f.member || strings.HasSuffix(member, "/"+f.member)) {
				if err := storeFile(dir, f, r); err != nil {
					return err
				}
				delete(missing, f.member)
				break
			}
		}
		if len(missing) == 0 {
			return errNoMore
		}
		return nil
	})
	if err != nil && !errors.Is(err, errNoMore) {
		return err
	}
	for member := range missing {
		return fmt.Errorf("the archive has no file %s", member)
	}
	return nil
}

// errNoMore ends the reading of an archive whose remaining members nobody wants.
var errNoMore = errors.New("nothing more is wanted")

// storeFile writes a library beside its place, checks it and moves it there.
func storeFile(dir string, f file, r io.Reader) error {
	temp, err := os.CreateTemp(dir, f.name+".*.part")
	if err != nil {
		return err
	}
	defer func() {
		_ = temp.Close()
		_ = os.Remove(temp.Name()) // gone already when all went well
	}()
	limit := int64(maxArchive)
	if f.size > 0 {
		limit = f.size
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(temp, h), io.LimitReader(r, limit+1))
	if err != nil {
		return err
	}
	if n > limit {
		return fmt.Errorf("%s is larger than %d bytes", f.name, limit)
	}
	got := hex.EncodeToString(h.Sum(nil))
	if f.sha256 != "" && got != f.sha256 {
		return fmt.Errorf("the sha-256 of %s is %s, pinned is %s", f.name, got, f.sha256)
	}
	if err := errors.Join(temp.Chmod(0o755), temp.Sync(), temp.Close()); err != nil {
		return err
	}
	path := filepath.Join(dir, f.name)
	if f.sha256 == "" {
		if err := os.WriteFile(path+digestSuffix, []byte(got+"\n"), 0o644); err != nil {
			return err
		}
	}
	return os.Rename(temp.Name(), path)
}
