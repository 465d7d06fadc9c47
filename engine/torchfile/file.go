package torchfile

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/denseflow/densereward/engine/safetensors"
	"github.com/denseflow/densereward/internal/modelfile"
)

const (
	// maxPickleBytes bounds data.pkl. A state dict of ten thousand tensors has 2 MB.
	maxPickleBytes = 16 << 20
	// maxEntries bounds the entries of an archive.
	maxEntries = 1 << 18
	// maxDepth bounds how deep dictionaries lie in one another.
	maxDepth = 8
)

// wrappers are the keys under which training scripts save a state dict beside other
// things, in the order of preference.
var wrappers = []string{"state_dict", "model_state_dict", "model", "module", "params"}

// Open finds the tensors of the file at path: those of the dictionary that it holds,
// or of the dictionary in that under state_dict, model_state_dict, model, module or
// params. A tensor in a further dictionary has the keys that lead to it as its name,
// with dots between them. What is no tensor is left out.
func Open(path string) (*safetensors.Checkpoint, error) {
	c, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("torch file %s: %w", path, err)
	}
	return c, nil
}

func open(path string) (*safetensors.Checkpoint, error) {
	f, err := modelfile.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	a, err := newArchive(f)
	if err != nil {
		return nil, err
	}
	tensors, err := a.tensors()
	if err != nil {
		return nil, err
	}
	return safetensors.FromTensors(f, tensors)
}

// archive is a file of torch.
type archive struct {
	size    int64
	folder  string // of all entries
	entries map[string]*zip.File
}

func newArchive(f *os.File) (*archive, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return readArchive(f, info.Size())
}

// readArchive reads the directory of an archive of size bytes.
func readArchive(r io.ReaderAt, size int64) (*archive, error) {
	head := make([]byte, min(size, 64))
	if _, err := r.ReadAt(head, 0); err != nil && err != io.EOF {
		return nil, err
	}
	if err := modelfile.CheckPointer(head); err != nil {
		return nil, err
	}
	if bytes.HasPrefix(head, []byte("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19")) {
		return nil, errors.New("written by torch before 1.6; load and save it with a newer one")
	}
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("not a zip archive as torch.save writes it: %w", err)
	}
	if len(z.File) > maxEntries {
		return nil, fmt.Errorf("%d entries exceed the limit of %d", len(z.File), maxEntries)
	}
	a := &archive{size: size, entries: make(map[string]*zip.File, len(z.File))}
	for _, entry := range z.File {
		if path.Base(entry.Name) == "data.pkl" && a.folder == "" {
			a.folder = path.Dir(entry.Name)
		}
		if _, twice := a.entries[entry.Name]; twice {
			return nil, fmt.Errorf("the entry %q occurs twice", entry.Name)
		}
		a.entries[entry.Name] = entry
	}
	if a.folder == "" {
		return nil, errors.New("no data.pkl: not a file of torch.save")
	}
	return a, a.checkByteOrder()
}

// entry finds an entry by its name below the folder of all.
func (a *archive) entry(name string) (*zip.File, error) {
	entry, ok := a.entries[a.folder+"/"+name]
	if !ok {
		return nil, fmt.Errorf("the archive has no %s", name)
	}
	return entry, nil
}

// checkByteOrder refuses the files of big-endian machines. Old files do not say.
func (a *archive) checkByteOrder() error {
	entry, err := a.entry("byteorder")
	if err != nil {
		return nil
	}
	order, err := readAll(entry, 16)
	if err != nil {
		return err
	}
	if string(order) != "little" {
		return fmt.Errorf("the byte order is %q, only little is read", order)
	}
	return nil
}

func readAll(entry *zip.File, limit int64) ([]byte, error) {
	r, err := entry.Open()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", entry.Name, err)
	}
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", entry.Name, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s exceeds the limit of %d bytes", entry.Name, limit)
	}
	return data, nil
}

// tensors are those of the state dict, each with its place in the file.
func (a *archive) tensors() ([]safetensors.Tensor, error) {
	entry, err := a.entry("data.pkl")
	if err != nil {
		return nil, err
	}
	data, err := readAll(entry, maxPickleBytes)
	if err != nil {
		return nil, err
	}
	root, err := unpickle(data, persistent)
	if err != nil {
		return nil, fmt.Errorf("data.pkl: %w", err)
	}
	c := collector{archive: a, seen: map[string]bool{}}
	if err := c.collect("", stateDict(root), 0); err != nil {
		return nil, err
	}
	if len(c.tensors) == 0 {
		return nil, errors.New("no dictionary of tensors")
	}
	return c.tensors, nil
}

// persistent is the storage of a persistent id: ("storage", class, key, device,
// number of elements).
func persistent(id any) (any, error) {
	parts, ok := id.(tuple)
	if !ok || len(parts) != 5 || parts[0] != "storage" {
		return nil, errors.New("a persistent id that is no storage")
	}
	class, _ := parts[1].(global)
	key, isText := parts[2].(string)
	elements, isNumber := parts[4].(int64)
	dtype, isStorage := storageTypes[class]
	if !isStorage || !isText || !isNumber || elements < 0 {
		return nil, fmt.Errorf("a storage of class %q, key %q and %v elements", class, key, parts[4])
	}
	if key == "" || strings.ContainsAny(key, "/\\") {
		return nil, fmt.Errorf("a storage with the key %q", key)
	}
	return storage{key: key, dtype: dtype, elements: elements}, nil
}

// stateDict is the dictionary of tensors in what a file holds.
func stateDict(root any) any {
	d, ok := root.(*dict)
	if !ok {
		return root
	}
	for _, key := range wrappers {
		for _, e := range d.entries {
			if inner, isDict := e.value.(*dict); isDict && e.key == key {
				return inner
			}
		}
	}
	return d
}

// collector gathers tensors.
type collector struct {
	archive *archive
	tensors []safetensors.Tensor
	seen    map[string]bool
	visits  int
}

// collect gathers the tensors below v, which lies depth dictionaries deep.
func (c *collector) collect(name string, v any, depth int) error {
	// Dictionaries may hold each other many times over.
	if c.visits++; c.visits > maxObjects {
		return fmt.Errorf("more than %d values in dictionaries", maxObjects)
	}
	switch v := v.(type) {
	case tensor:
		return c.add(name, v)
	case *dict:
		if depth > maxDepth {
			return fmt.Errorf("dictionaries lie more than %d deep", maxDepth)
		}
		for _, e := range v.entries {
			key, ok := e.key.(string)
			if !ok {
				continue // of an optimizer's state, say
			}
			if depth > 0 {
				key = name + "." + key
			}
			if err := c.collect(key, e.value, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// add checks a tensor against its storage and the file.
func (c *collector) add(name string, t tensor) error {
	if name == "" {
		return errors.New("no dictionary of tensors")
	}
	if c.seen[name] {
		return fmt.Errorf("tensor %q occurs twice", name)
	}
	c.seen[name] = true
	at, err := c.archive.locate(t)
	if err != nil {
		return fmt.Errorf("tensor %q: %w", name, err)
	}
	at.Name = name
	c.tensors = append(c.tensors, at)
	return nil
}

// locate finds the bytes of a tensor in the file.
func (a *archive) locate(t tensor) (safetensors.Tensor, error) {
	if !t.contiguous() {
		return safetensors.Tensor{}, fmt.Errorf("size %v with stride %v is not contiguous; save it after contiguous()", t.shape, t.strides)
	}
	length, err := safetensors.ByteLength(t.storage.dtype, t.shape)
	if err != nil {
		return safetensors.Tensor{}, err
	}
	width := int64(t.storage.dtype.Bits() / 8)
	entry, err := a.entry("data/" + t.storage.key)
	if err != nil {
		return safetensors.Tensor{}, err
	}
	if entry.Method != zip.Store || entry.CompressedSize64 != entry.UncompressedSize64 {
		return safetensors.Tensor{}, fmt.Errorf("the storage %s is compressed, which torch.save does not do", t.storage.key)
	}
	size := entry.UncompressedSize64
	if t.storage.elements > (1<<62)/width || uint64(t.storage.elements*width) > size {
		return safetensors.Tensor{}, fmt.Errorf("the storage %s of %d elements has %d bytes", t.storage.key, t.storage.elements, size)
	}
	if elements := length / width; t.offset > t.storage.elements || elements > t.storage.elements-t.offset {
		return safetensors.Tensor{}, fmt.Errorf("%d elements from %d in a storage of %d", elements, t.offset, t.storage.elements)
	}
	begin, err := entry.DataOffset()
	if err != nil {
		return safetensors.Tensor{}, fmt.Errorf("%s: %w", entry.Name, err)
	}
	offset := begin + t.offset*width
	if begin < 0 || offset < 0 || offset > a.size || length > a.size-offset {
		return safetensors.Tensor{}, fmt.Errorf("ends past the end of the file, which has %d bytes", a.size)
	}
	return safetensors.Tensor{DType: t.storage.dtype, Shape: t.shape, Offset: offset, Length: length}, nil
}
