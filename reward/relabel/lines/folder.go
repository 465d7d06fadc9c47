package lines

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync/atomic"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/relabel"
)

// Folder is a folder of images with a .txt beside each.
type Folder struct{}

var _ relabel.Format = Folder{}

// Open begins to list the folder called name, "." for the store's own.
func (Folder) Open(ctx context.Context, s relabel.Store, name string, columns relabel.Columns) (relabel.Reader, error) {
	if columns.Image != "" || columns.Prompt != "" || len(columns.Metadata) > 0 {
		return nil, fmt.Errorf("folder %s has no metadata.jsonl, and so no columns %+v", name, columns)
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &folderReader{store: s, folder: name, ctx: ctx, cancel: cancel, files: make(chan string), done: make(chan struct{})}
	prefix := ""
	if name != "." {
		prefix = name + "/"
	}
	go func() {
		defer close(r.done)
		defer close(r.files)
		r.err = s.List(ctx, prefix, func(file string, size int64) error {
			if !IsImage(file) {
				return nil
			}
			select {
			case r.files <- strings.TrimPrefix(file, prefix):
				r.position.Add(size)
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	return r, nil
}

type folderReader struct {
	store    relabel.Store
	folder   string
	ctx      context.Context // ends the listing
	cancel   context.CancelFunc
	files    chan string
	done     chan struct{}
	err      error // of the listing, when done is closed
	position atomic.Int64
}

// Next takes the next image.
func (r *folderReader) Next() (*relabel.Record, error) {
	file, ok := <-r.files
	if !ok {
		if r.err != nil {
			return nil, r.err
		}
		return nil, io.EOF
	}
	record := &relabel.Record{Name: file}
	name := path.Join(r.folder, file)
	prompt, err := relabel.ReadFile(r.ctx, r.store, strings.TrimSuffix(name, path.Ext(name))+".txt")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		record.Err = reward.ErrMissingField.With("no prompt: there is no .txt beside the image")
	case err != nil:
		return nil, err
	}
	record.Prompt = strings.TrimSpace(string(prompt))
	record.Load = func() ([]byte, error) { return relabel.LoadBeside(r.ctx, r.store, name, path.Base(name)) }
	row, err := json.Marshal(struct {
		FileName string `json:"file_name"`
		Prompt   string `json:"prompt"`
	}{file, record.Prompt})
	record.Row = jsonlRow(row)
	return record, err
}

func (r *folderReader) Position() int64 { return r.position.Load() }

// Close ends the listing.
func (r *folderReader) Close() error {
	r.cancel()
	<-r.done
	return nil
}

// Writer makes the folder's metadata.jsonl.
func (r *folderReader) Writer(w io.Writer, beside relabel.Beside, labels relabel.Labels) (relabel.Writer, error) {
	if err := labels.CheckCollision([]string{"file_name", "prompt"}); err != nil {
		return nil, err
	}
	return newJSONLWriter(w, "metadata.jsonl", beside, labels)
}
