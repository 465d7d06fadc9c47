package safetensors

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ErrNoTensor is returned for a name that a checkpoint does not hold.
var ErrNoTensor = errors.New("no such tensor")

const (
	fileSuffix  = ".safetensors"
	indexSuffix = ".safetensors.index.json"
)

// preferredBases are the names under which transformers and diffusers save, in
// the order of preference where a folder holds several.
var preferredBases = [...]string{"model", "diffusion_pytorch_model"}

// Tensor says where a tensor lies and what it is.
type Tensor struct {
	Name   string
	DType  DType
	Shape  []int64 // shared; not to be changed
	File   string  // base name of Path
	Path   string  // the file, symbolic links resolved
	Offset int64   // of the first byte, from the start of the file
	Length int64   // in bytes
}

// Checkpoint is a set of named tensors in one or more files. It holds no open
// files and is safe for concurrent use.
type Checkpoint struct {
	tensors  map[string]Tensor
	names    []string
	metadata map[string]string
}

// Open reads the headers of the checkpoint in the folder dir. A folder may hold
// an index with its shards, or one file. Where it holds several of either,
// those called model and then diffusion_pytorch_model are preferred; any other
// choice is an error. Shards are named by the index as plain file names; a name
// that leads out of the folder is an error. Symbolic links are followed, since
// download caches consist of them.
func Open(dir string) (*Checkpoint, error) {
	listing, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	var indexes, files []string
	for _, item := range listing {
		switch name := item.Name(); {
		case strings.HasSuffix(name, indexSuffix):
			indexes = append(indexes, name)
		case strings.HasSuffix(name, fileSuffix):
			files = append(files, name)
		}
	}
	index, err := choose(dir, indexes, indexSuffix)
	if err != nil {
		return nil, err
	}
	if index != "" {
		return openIndex(filepath.Join(dir, index))
	}
	file, err := choose(dir, files, fileSuffix)
	if err != nil {
		return nil, err
	}
	if file == "" {
		return nil, fmt.Errorf("safetensors: %s holds neither *%s nor *%s", dir, indexSuffix, fileSuffix)
	}
	return OpenFile(filepath.Join(dir, file))
}

// choose picks the file that stands for the folder, or "" if there is none.
func choose(dir string, names []string, suffix string) (string, error) {
	switch len(names) {
	case 0:
		return "", nil
	case 1:
		return names[0], nil
	}
	for _, base := range preferredBases {
		if slices.Contains(names, base+suffix) {
			return base + suffix, nil
		}
	}
	return "", fmt.Errorf("safetensors: %s holds %d files that could be meant: %s",
		dir, len(names), strings.Join(names, ", "))
}

// OpenFile reads the header of a checkpoint that is a single file.
func OpenFile(path string) (*Checkpoint, error) {
	tensors, metadata, err := readFile(path)
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{tensors: make(map[string]Tensor, len(tensors)), metadata: metadata}
	for _, t := range tensors {
		c.tensors[t.Name] = t
	}
	c.names = slices.Sorted(maps.Keys(c.tensors))
	return c, nil
}

// openIndex reads an index and the headers of the shards it names. Tensors of
// a shard that the index does not name are left out.
func openIndex(path string) (*Checkpoint, error) {
	shardOf, err := readIndex(path)
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{
		tensors: make(map[string]Tensor, len(shardOf)),
		names:   slices.Sorted(maps.Keys(shardOf)),
	}
	shards := slices.Compact(slices.Sorted(maps.Values(shardOf)))
	for _, shard := range shards {
		tensors, metadata, err := readFile(filepath.Join(filepath.Dir(path), shard))
		if err != nil {
			return nil, fmt.Errorf("shard named by %s: %w", filepath.Base(path), err)
		}
		for _, t := range tensors {
			named, listed := shardOf[t.Name]
			if !listed {
				continue
			}
			if named != shard {
				return nil, at(path, tensorError(t.Name, "held by %s, but the index says %s", shard, named))
			}
			c.tensors[t.Name] = t
		}
		if c.metadata == nil {
			c.metadata = metadata
		}
	}
	for _, name := range c.names {
		if _, ok := c.tensors[name]; !ok {
			return nil, at(path, tensorError(name, "not in %s, where the index says it is", shardOf[name]))
		}
	}
	return c, nil
}

// readIndex reads which shard holds which tensor.
func readIndex(path string) (map[string]string, error) {
	f, size, _, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > maxHeaderBytes {
		return nil, at(path, tensorError("", "index of %d bytes exceeds the limit of %d", size, maxHeaderBytes))
	}
	data, err := io.ReadAll(io.LimitReader(f, size))
	if err != nil {
		return nil, at(path, err)
	}
	shardOf, err := parseIndex(data)
	if err != nil {
		return nil, at(path, err)
	}
	return shardOf, nil
}

// parseIndex reads the JSON of an index: weight_map is what counts.
func parseIndex(data []byte) (map[string]string, error) {
	s := newScanner(data)
	var shardOf map[string]string
	err := s.object("index", func(key string) (err error) {
		if key != "weight_map" {
			return s.skip()
		}
		if shardOf != nil {
			return errors.New("weight_map occurs twice")
		}
		shardOf, err = s.strings(key)
		return err
	})
	if err == nil {
		err = s.end()
	}
	if err != nil {
		var format *FormatError
		if errors.As(err, &format) {
			return nil, err
		}
		return nil, tensorError("", "index: %v", err)
	}
	if shardOf == nil {
		return nil, tensorError("", "index has no weight_map")
	}
	for name, shard := range shardOf {
		if !plainName(shard) {
			return nil, tensorError(name, "shard %q is not a plain file name", shard)
		}
	}
	return shardOf, nil
}

// plainName reports whether name stays in its folder on every platform.
func plainName(name string) bool {
	return filepath.IsLocal(name) && name != "." && !strings.ContainsAny(name, "/\\:\x00")
}

// readFile reads the header of one file.
func readFile(path string) ([]Tensor, map[string]string, error) {
	f, size, resolved, err := openRegular(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	entries, metadata, dataStart, err := readHeader(f, size)
	if err != nil {
		return nil, nil, at(path, err)
	}
	tensors := make([]Tensor, len(entries))
	for i, e := range entries {
		tensors[i] = Tensor{
			Name:   e.name,
			DType:  e.dtype,
			Shape:  e.shape,
			File:   filepath.Base(resolved),
			Path:   resolved,
			Offset: dataStart + e.begin,
			Length: e.end - e.begin,
		}
	}
	return tensors, metadata, nil
}

// openRegular opens a file after checking that it is one: opening a pipe would
// wait for ever.
func openRegular(path string) (f *os.File, size int64, resolved string, err error) {
	resolved, err = filepath.EvalSymlinks(path)
	if err != nil {
		return nil, 0, "", fmt.Errorf("safetensors: %w", err)
	}
	info, err := os.Stat(resolved)
	if err != nil {
		return nil, 0, "", fmt.Errorf("safetensors: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, 0, "", at(path, tensorError("", "not a regular file"))
	}
	f, err = os.Open(resolved)
	if err != nil {
		return nil, 0, "", fmt.Errorf("safetensors: %w", err)
	}
	return f, info.Size(), resolved, nil
}

// Tensor returns the tensor called name, and whether there is one.
func (c *Checkpoint) Tensor(name string) (Tensor, bool) {
	t, ok := c.tensors[name]
	return t, ok
}

// Names lists the tensors, sorted. The slice is the caller's.
func (c *Checkpoint) Names() []string { return slices.Clone(c.names) }

// Folder is where all files lie: another folder than the checkpoint's where that
// has links, as a hub's cache has. It fails if they lie in several.
func (c *Checkpoint) Folder() (string, error) {
	var folder string
	for _, name := range c.names {
		switch dir := filepath.Dir(c.tensors[name].Path); {
		case folder == "":
			folder = dir
		case folder != dir:
			return "", fmt.Errorf("safetensors: tensor %s lies in %s, others in %s", name, dir, folder)
		}
	}
	return folder, nil
}

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

// readAt fills data from r at offset.
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
