package lines

import (
	"bufio"
	"context"
	"path"
	"slices"
	"strings"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/relabel"
)

// The usual names of columns, in the order in which they are looked for.
var (
	imageNames  = []string{"file_name", "image", "image_path", "path", "img"}
	promptNames = []string{"prompt", "caption", "text"}
)

// skipMark passes over the mark of byte order that some editors and spreadsheets
// begin UTF-8 with; outputs are without it.
func skipMark(r *bufio.Reader) *bufio.Reader {
	if begin, err := r.Peek(3); err == nil && string(begin) == "\ufeff" {
		_, _ = r.Discard(3) // it was peeked at
	}
	return r
}

// images loads the images that a shard names.
type images struct {
	ctx   context.Context // of the reader
	store relabel.Store
	shard string
}

// record makes the record called name from the fields of a row; get returns a
// field and whether it is a string.
func (i images) record(name string, columns relabel.Columns, get func(field string) (string, bool)) *relabel.Record {
	r := &relabel.Record{Name: name}
	file, ok := first(columns.Image, imageNames, get)
	if !ok || file == "" {
		r.Err = reward.ErrMissingField.With("the row names no image")
		return r
	}
	if r.Prompt, ok = first(columns.Prompt, promptNames, get); !ok {
		r.Err = reward.ErrMissingField.With("the row has no prompt")
		return r
	}
	r.Load = func() ([]byte, error) { return relabel.LoadBeside(i.ctx, i.store, i.shard, file) }
	return r
}

// first is the field called name, or the first of the usual ones that is there.
func first(name string, usual []string, get func(string) (string, bool)) (string, bool) {
	if name != "" {
		return get(name)
	}
	for _, name := range usual {
		if value, ok := get(name); ok {
			return value, true
		}
	}
	return "", false
}

// IsImage tells images, and latents, of a folder by their names.
func IsImage(name string) bool {
	return slices.Contains([]string{".png", ".jpg", ".jpeg", ".webp", ".npy", ".safetensors"}, strings.ToLower(path.Ext(name)))
}
