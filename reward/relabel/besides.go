package relabel

import (
	"context"
	"path"

	"golang.org/x/sync/errgroup"
)

// besides writes the files beside a shard's output, several at a time: each waits
// for the disk or the bucket.
type besides struct {
	ctx    context.Context // ends with the first error
	files  *errgroup.Group
	output Store
	folder string
}

// besidesAtOnce bounds the files that are held in memory.
const besidesAtOnce = 16

func newBesides(ctx context.Context, output Store, shard string) *besides {
	files, ctx := errgroup.WithContext(ctx)
	files.SetLimit(besidesAtOnce)
	return &besides{ctx, files, output, path.Dir(shard)}
}

// write is a shard's Beside. Its error may be that of an earlier file.
func (b *besides) write(name string, data []byte) error {
	if err := b.ctx.Err(); err != nil {
		return context.Cause(b.ctx)
	}
	b.files.Go(func() error { return b.output.Write(b.ctx, path.Join(b.folder, name), data) })
	return nil
}

// wait returns when every file is durable, or with the first error.
func (b *besides) wait() error { return b.files.Wait() }
