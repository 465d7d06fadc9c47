package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/denseflow/densereward/internal/modelfile"
)

// File is a file of a repository.
type File struct {
	Name string // its path, with slashes
	Size int64  // negative where it is not known
	// Digest names the content in the cache: a SHA-256, Git's SHA-1, or what a mirror
	// gave for it.
	Digest string

	gitDigest string // Git's own of a large file's pointer, for listings
	large     bool
	xet       string
}

// repository is a reference's place in the cache.
type repository struct {
	*Store
	Reference
	dir string
}

func (s *Store) repository(r Reference) repository {
	return repository{s, r, filepath.Join(s.Cache, folderName(r.ID))}
}

func folderName(id string) string { return "models--" + strings.ReplaceAll(id, "/", "--") }

func (r repository) ref() string {
	return filepath.Join(r.dir, "refs", filepath.FromSlash(r.Revision))
}
func (r repository) snapshot(commit string) string {
	return filepath.Join(r.dir, "snapshots", commit)
}
func (r repository) file(commit, name string) string {
	return filepath.Join(r.snapshot(commit), filepath.FromSlash(name))
}
func (r repository) blob(digest string) string { return filepath.Join(r.dir, "blobs", digest) }
func (r repository) tree(commit string) string {
	return filepath.Join(r.dir, "trees", commit+".json")
}

// commit is what the cache knows the revision to be, "" if nothing.
func (r repository) commit() string {
	if commitPattern.MatchString(r.Revision) {
		return r.Revision
	}
	text, err := modelfile.Read(r.ref(), 1024)
	if commit := strings.TrimSpace(string(text)); err == nil && commitPattern.MatchString(commit) {
		return commit
	}
	return ""
}

// treeFormat is the version of huggingface_hub's listings that is read and written.
const treeFormat = 1

type treeFile struct {
	FormatVersion int                  `json:"format_version"`
	Files         map[string]treeEntry `json:"files"`
}

type treeEntry struct {
	Size      int64  `json:"size"`
	BlobID    string `json:"blob_id"`
	LFSSHA256 string `json:"lfs_sha256,omitempty"`
	LFSSize   int64  `json:"lfs_size,omitempty"`
	XetHash   string `json:"xet_hash,omitempty"`
}

// maxListingBytes bounds a repository's listing.
const maxListingBytes = 64 << 20

// readListing is what the cache knows a commit to hold, or, where whole is false, what it
// holds of it.
func (r repository) readListing(commit string) (files []File, whole bool) {
	var tree treeFile
	data, err := modelfile.Read(r.tree(commit), maxListingBytes)
	if err == nil && json.Unmarshal(data, &tree) == nil && tree.FormatVersion == treeFormat {
		for name, e := range tree.Files {
			f := File{Name: name, Size: e.Size, Digest: e.BlobID, gitDigest: e.BlobID, xet: e.XetHash}
			if e.LFSSHA256 != "" {
				f.Digest, f.Size, f.large = e.LFSSHA256, e.LFSSize, true
			}
			if f.check() == nil {
				files = append(files, f)
			}
		}
		return files, true
	}
	root := r.snapshot(commit)
	// What cannot be listed is not there.
	_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			if name, err := filepath.Rel(root, path); err == nil {
				files = append(files, File{Name: filepath.ToSlash(name), Size: -1})
			}
		}
		return nil
	})
	return files, false
}

// present returns an error for a file that the snapshot lacks.
func (r repository) present(commit string, names []string) error {
	for _, name := range names {
		if _, err := os.Stat(r.file(commit, name)); err != nil {
			return fmt.Errorf("%w: %w", ErrOffline, err)
		}
	}
	return nil
}

// has reports whether the snapshot holds a file, whole.
func (r repository) has(commit string, f File) bool {
	info, err := os.Stat(r.file(commit, f.Name))
	return err == nil && info.Mode().IsRegular() && (f.Size < 0 || info.Size() == f.Size)
}

// remember notes which commit the revision is and what it holds. A cache that cannot be
// written forgets it.
func (r repository) remember(commit string, listing []File) {
	if r.Revision != commit {
		if old, err := os.ReadFile(r.ref()); err != nil || string(old) != commit {
			_ = replace(r.ref(), []byte(commit))
		}
	}
	if _, err := os.Stat(r.tree(commit)); err == nil {
		return
	}
	tree := treeFile{treeFormat, make(map[string]treeEntry, len(listing))}
	for _, f := range listing {
		if f.Size < 0 || f.gitDigest == "" {
			return // of a mirror that does not say
		}
		e := treeEntry{Size: f.Size, BlobID: f.gitDigest, XetHash: f.xet}
		if f.large {
			e.LFSSHA256, e.LFSSize = f.Digest, f.Size
		}
		tree.Files[f.Name] = e
	}
	if data, err := json.Marshal(tree); err == nil {
		_ = replace(r.tree(commit), data)
	}
}

// replace writes a file beside its place and moves it there.
func replace(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	_, err = temp.Write(data)
	if err = errors.Join(err, temp.Chmod(0o644), temp.Close()); err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(temp.Name())
	}
	return err
}

// link makes the snapshot's file a link to its content. Where there are no links the
// content itself moves there, as huggingface_hub has it.
func (r repository) link(commit string, f File) error {
	path, blob := r.file(commit, f.Name), r.blob(f.Digest)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	target, err := filepath.Rel(filepath.Dir(path), blob)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err = os.Symlink(target, path)
	if err == nil || errors.Is(err, fs.ErrExist) { // another process was quicker
		return nil
	}
	return os.Rename(blob, path)
}
