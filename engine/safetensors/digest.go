package safetensors

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/denseflow/densereward/internal/modelfile"
)

// ErrDamaged is returned for a file that is not what was published.
var ErrDamaged = errors.New("file is damaged")

// FileDigest is the digest of a file of a folder, and what it should be.
type FileDigest struct {
	Name   string
	Size   int64
	SHA256 string // in hex
	Source string // what says what it should be; "" where nothing does
	Err    error  // an ErrDamaged where it is something else
}

const (
	sumsFile     = "SHA256SUMS"
	hubMetadata  = ".cache/huggingface/download"
	maxSumsBytes = 1 << 20

	maxMetadataBytes = 4 << 10
)

// Digests reads every file of the folder dir and compares it with what is known of
// it: a SHA256SUMS beside it, the metadata that a hub's client left in
// .cache/huggingface, or the name of the blob that a link of the hub's cache leads
// to. What is known only as Git's SHA-1 is compared with that. A file that
// SHA256SUMS names and that is not there is damaged. Folders and hidden files are
// left out. The error is of the folder as a whole.
func Digests(ctx context.Context, dir string) ([]FileDigest, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	sums, err := readSums(filepath.Join(dir, sumsFile))
	if err != nil {
		return nil, err
	}
	listing, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	var digests []FileDigest
	for _, item := range listing {
		name := item.Name()
		info, err := os.Stat(filepath.Join(dir, name))
		if name == sumsFile || name[0] == '.' || err == nil && info.IsDir() {
			continue
		}
		d, err := digestOf(ctx, dir, name, sums)
		if err != nil {
			return nil, err
		}
		delete(sums, name)
		digests = append(digests, d)
	}
	for name := range sums {
		if plainName(name) { // others lie in folders, which are not read
			digests = append(digests, FileDigest{Name: name, Source: sumsFile, Err: fmt.Errorf("%w: %s is missing, %s names it", ErrDamaged, name, sumsFile)})
		}
	}
	slices.SortFunc(digests, func(a, b FileDigest) int { return strings.Compare(a.Name, b.Name) })
	return digests, nil
}

// digestOf hashes a file and compares it.
func digestOf(ctx context.Context, dir, name string, sums map[string]string) (FileDigest, error) {
	d := FileDigest{Name: name}
	path := filepath.Join(dir, name)
	f, opened, err := openRegular(path)
	if err != nil {
		d.Err = fmt.Errorf("%w: %w", ErrDamaged, err)
		return d, nil
	}
	defer f.Close()
	d.Size = opened.info.Size()
	sha, git := sha256.New(), sha1.New()
	fmt.Fprintf(git, "blob %d\x00", d.Size) // as Git hashes files
	if _, err := io.Copy(io.MultiWriter(sha, git), stopping{ctx, f}); err != nil {
		if ctx.Err() != nil {
			return d, ctx.Err()
		}
		d.Err = fmt.Errorf("%w: %w", ErrDamaged, err)
		return d, nil
	}
	d.SHA256 = hex.EncodeToString(sha.Sum(nil))
	want, source := sums[name], sumsFile
	if want == "" {
		want, source = hubDigest(dir, name, opened.path)
	}
	got := d.SHA256
	switch {
	case want == "":
		return d, nil
	case len(want) == 2*sha1.Size:
		got = hex.EncodeToString(git.Sum(nil))
	}
	d.Source = source
	if got != want {
		d.Err = fmt.Errorf("%w: the digest of %s is %s, %s says %s", ErrDamaged, path, got, source, want)
	}
	return d, nil
}

// hubDigest is what the hub's client noted of a file: the second line of its
// metadata, or the name of the blob that the file links to. Large files have a
// SHA-256, others Git's SHA-1.
func hubDigest(dir, name, resolved string) (digest, source string) {
	// The metadata of a pipeline's part lie with the pipeline.
	for _, at := range []string{
		filepath.Join(dir, filepath.FromSlash(hubMetadata), name),
		filepath.Join(filepath.Dir(dir), filepath.FromSlash(hubMetadata), filepath.Base(dir), name),
	} {
		data, err := modelfile.Read(at+".metadata", maxMetadataBytes)
		if err != nil {
			continue
		}
		if lines := strings.Split(string(data), "\n"); len(lines) > 1 && isDigest(strings.TrimSpace(lines[1])) {
			return strings.TrimSpace(lines[1]), "the hub's metadata"
		}
	}
	blob := filepath.Base(resolved)
	if blob != name && isDigest(blob) && filepath.Base(filepath.Dir(resolved)) == "blobs" {
		return blob, "the hub's cache"
	}
	return "", ""
}

// isDigest reports whether s is a SHA-256 or SHA-1 in hex.
func isDigest(s string) bool {
	data, err := hex.DecodeString(s)
	return err == nil && (len(data) == sha256.Size || len(data) == sha1.Size) && s == strings.ToLower(s)
}

// readSums reads the output of sha256sum: a digest, a space, a space or star, and
// a name. A file that is not there is empty.
func readSums(path string) (map[string]string, error) {
	data, err := modelfile.Read(path, maxSumsBytes)
	if errors.Is(err, os.ErrNotExist) {
		return map[string]string{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	sums := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		digest, name, ok := strings.Cut(line, " ")
		digest = strings.ToLower(digest)
		if !ok || !isDigest(digest) || len(digest) != 2*sha256.Size {
			return nil, at(path, tensorError("", "line %d is not a SHA-256 and a name", n))
		}
		name = strings.TrimPrefix(strings.TrimLeft(name, " *"), "./")
		sums[name] = digest
	}
	if err := lines.Err(); err != nil {
		return nil, at(path, err)
	}
	return sums, nil
}

// stopping reads until its context is done.
type stopping struct {
	ctx context.Context
	r   io.Reader
}

func (s stopping) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}
