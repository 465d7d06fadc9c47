package relabel

import (
	"context"
	"io"
	"path"

	"github.com/denseflow/densereward/reward"
)

// A Store holds files under slash-separated names: a folder or a bucket. Files
// that do not exist give an fs.ErrNotExist.
type Store interface {
	// List calls visit for every file whose name begins with prefix, in an order
	// that is always the same.
	List(ctx context.Context, prefix string, visit func(name string, size int64) error) error
	Open(ctx context.Context, name string) (Object, error)
	// Create begins a file that appears, whole, when it is committed.
	Create(ctx context.Context, name string) (Upload, error)
	// Write writes a whole file as Create and Commit do.
	Write(ctx context.Context, name string, data []byte) error
	// Remove deletes a file; it is no error if there is none.
	Remove(ctx context.Context, name string) error
	// Address is where a file is: equal for equal files of any two stores.
	Address(name string) string
	// String is the store's address in messages.
	String() string
}

// Object is a file that is being read.
type Object interface {
	io.ReadCloser
	io.ReaderAt
	Size() int64
}

// Upload is a file that is being written. One of Commit and Abort ends it.
type Upload interface {
	io.Writer
	// Commit makes the file durable, then visible.
	Commit() error
	// Abort leaves nothing behind.
	Abort()
}

// ReadFile reads a whole file into memory, whatever its size.
func ReadFile(ctx context.Context, s Store, name string) ([]byte, error) {
	object, err := s.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer object.Close() //nolint:errcheck // it was only read
	return io.ReadAll(object)
}

// LoadBeside reads an image that a shard names by its path, relative to the
// shard's folder. Its error is the sample's.
func LoadBeside(ctx context.Context, s Store, shard, file string) ([]byte, error) {
	if !path.IsAbs(file) {
		file = path.Join(path.Dir(shard), file)
	}
	data, err := ReadFile(ctx, s, file)
	if err != nil {
		return nil, reward.ErrImageCorrupt.With("the image cannot be read: %v", err)
	}
	return data, nil
}
