package safetensors

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/denseflow/densereward/internal/modelfile"
)

// ErrNoTensor is returned for a name that a checkpoint does not hold.
var ErrNoTensor = errors.New("no such tensor")

const (
	fileSuffix  = ".safetensors"
	indexSuffix = ".safetensors.index.json"
)

// preferredBases are the names under which transformers and diffusers save, in
// the order of preference where a folder holds several.
var preferredBases = [...]string{transformersBase, "diffusion_pytorch_model"}

const transformersBase = "model"

// Tensor says where a tensor lies and what it is.
type Tensor struct {
	Name   string
	DType  DType
	Shape  []int64 // shared; not to be changed
	Path   string  // the file, symbolic links resolved
	File   string  // Path from the checkpoint's Folder, with slashes
	Offset int64   // of the first byte, from the start of the file
	Length int64   // in bytes
}

// Checkpoint is a set of named tensors in one or more files. It holds no open
// files and is safe for concurrent use.
type Checkpoint struct {
	tensors  map[string]Tensor
	names    []string
	metadata map[string]string
	files    []openedFile
	folder   string
}

// Open reads the headers of the checkpoint in the folder dir. A folder may hold
// one file, or an index with its shards. Where it holds several of either, those
// called model and then diffusion_pytorch_model are preferred; any other choice is
// an error. Of model.safetensors and an index beside it the file is read, as
// transformers does; of diffusion_pytorch_model.safetensors and an index neither,
// for diffusers would read the index. Shards are named by the index as plain file
// names; a name that leads out of the folder is an error. Symbolic links are
// followed, since download caches consist of them.
func Open(dir string) (*Checkpoint, error) {
	listing, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	var names []string
	for _, item := range listing {
		names = append(names, item.Name())
	}
	name, err := Choose(names)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %s %w", dir, err)
	}
	if strings.HasSuffix(name, indexSuffix) {
		return openIndex(filepath.Join(dir, name))
	}
	return OpenFile(filepath.Join(dir, name))
}

// Choose picks the file or index that Open takes of a folder with files of these names.
func Choose(names []string) (string, error) {
	has := func(name string) bool { return slices.Contains(names, name) }
	for _, base := range preferredBases {
		file, index := base+fileSuffix, base+indexSuffix
		switch {
		case has(file) && has(index) && base != transformersBase:
			return "", fmt.Errorf("holds both %s and %s; remove the one that is out of date", file, index)
		case has(file):
			return file, nil
		case has(index):
			return index, nil
		}
	}
	var indexes, files []string
	for _, name := range names {
		switch {
		case strings.HasSuffix(name, indexSuffix):
			indexes = append(indexes, name)
		case strings.HasSuffix(name, fileSuffix):
			files = append(files, name)
		}
	}
	switch {
	case len(indexes) == 1:
		return indexes[0], nil
	case len(indexes) > 1:
		return "", fmt.Errorf("holds %d indexes that could be meant: %s", len(indexes), strings.Join(indexes, ", "))
	case len(files) > 0 && !slices.ContainsFunc(files, isNoShard):
		return "", fmt.Errorf("holds shards (%s) without their index, *%s", strings.Join(files, ", "), indexSuffix)
	case len(files) == 1:
		return files[0], nil
	case len(files) > 1:
		return "", fmt.Errorf("holds %d files that could be meant: %s", len(files), strings.Join(files, ", "))
	}
	if at := slices.IndexFunc(names, pickleName.MatchString); at >= 0 {
		return "", fmt.Errorf("holds %s, which is a pickle, and no *%s; save it with safe_serialization=True", names[at], fileSuffix)
	}
	return "", fmt.Errorf("holds neither *%s nor *%s", indexSuffix, fileSuffix)
}

// isNoShard reports whether a file has all of its checkpoint.
func isNoShard(name string) bool {
	return !shardName.MatchString(name) || strings.HasSuffix(name, "-00001-of-00001"+fileSuffix)
}

var (
	shardName  = regexp.MustCompile(`-\d{5}-of-\d{5}\.safetensors$`)
	pickleName = regexp.MustCompile(`\.(bin|pt|pth|ckpt)$`)
)

// OpenFile reads the header of a checkpoint that is a single file.
func OpenFile(path string) (*Checkpoint, error) {
	tensors, metadata, file, err := readFile(path)
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{tensors: make(map[string]Tensor, len(tensors)), metadata: metadata, files: []openedFile{file}}
	for _, t := range tensors {
		c.tensors[t.Name] = t
	}
	c.names = slices.Sorted(maps.Keys(c.tensors))
	return c, c.settle()
}

func readFile(path string) ([]Tensor, map[string]string, openedFile, error) {
	f, opened, err := openRegular(path)
	if err != nil {
		return nil, nil, openedFile{}, err
	}
	defer f.Close()
	entries, metadata, dataStart, err := readHeader(f, opened.info.Size())
	if err != nil {
		return nil, nil, openedFile{}, at(path, err)
	}
	tensors := make([]Tensor, len(entries))
	for i, e := range entries {
		tensors[i] = Tensor{
			Name:   e.name,
			DType:  e.dtype,
			Shape:  e.shape,
			Path:   opened.path,
			Offset: dataStart + e.begin,
			Length: e.end - e.begin,
		}
	}
	return tensors, metadata, opened, nil
}

// openedFile is a file as it was when its header was read.
type openedFile struct {
	path string // symbolic links resolved
	info os.FileInfo
}

// openRegular opens a file after checking that it is one: opening a pipe would
// wait for ever. A pointer to a file that has not been fetched is an error.
func openRegular(path string) (f *os.File, opened openedFile, err error) {
	opened.path, err = filepath.EvalSymlinks(path)
	if err != nil {
		return nil, opened, fmt.Errorf("safetensors: %w", err)
	}
	f, err = modelfile.Open(opened.path)
	if errors.Is(err, modelfile.ErrNotRegular) {
		return nil, opened, at(path, tensorError("", "%v", modelfile.ErrNotRegular))
	}
	if err != nil {
		return nil, opened, fmt.Errorf("safetensors: %w", err)
	}
	// Of what is open, which may be another file by now.
	opened.info, err = f.Stat()
	if err == nil {
		head := make([]byte, min(opened.info.Size(), 64))
		if err = readAt(f, head, 0); err == nil {
			err = modelfile.CheckPointer(head)
		}
	}
	if err != nil {
		f.Close()
		return nil, opened, at(path, err)
	}
	return f, opened, nil
}

// Tensor returns the tensor called name, and whether there is one.
func (c *Checkpoint) Tensor(name string) (Tensor, bool) {
	t, ok := c.tensors[name]
	return t, ok
}

// Names lists the tensors, sorted. The slice is the caller's.
func (c *Checkpoint) Names() []string { return slices.Clone(c.names) }

// Metadata is the free text that the writer left in the (first) file, such as
// format: pt. It may be nil.
func (c *Checkpoint) Metadata() map[string]string { return maps.Clone(c.metadata) }

// Read fetches the bytes of the tensor called name. An unknown name is
// ErrNoTensor; a file that shrank since it was opened is
// io.ErrUnexpectedEOF.
func (c *Checkpoint) Read(name string) ([]byte, error) {
	t, ok := c.tensors[name]
	if !ok {
		return nil, fmt.Errorf("safetensors: %w: %q", ErrNoTensor, name)
	}
	f, err := os.Open(t.Path)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	defer f.Close()
	data := make([]byte, t.Length)
	if err := readAt(f, data, t.Offset); err != nil {
		return nil, fmt.Errorf("safetensors: %s: tensor %q: %w", t.Path, name, err)
	}
	return data, nil
}

func readAt(r io.ReaderAt, data []byte, offset int64) error {
	n, err := r.ReadAt(data, offset)
	if n == len(data) {
		return nil
	}
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
