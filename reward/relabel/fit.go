package relabel

import (
	"context"
	"errors"
	"io"
)

// DefaultPrefix is what Fit puts before the names of labels.
const DefaultPrefix = "densereward_"

// Fit gives labels without a Prefix the DefaultPrefix if shard already has a
// column of one of their names, such as the captions in a column "text" that
// Hugging Face's folders of images have. It looks at the first record alone, and
// leaves a shard that cannot be read to Run.
func (l *Labels) Fit(ctx context.Context, shard *Shard, columns Columns) {
	if l.Prefix == "" && collides(ctx, shard, columns, *l) {
		l.Prefix = DefaultPrefix
	}
}

// collides writes the first record, where there is one, to nowhere.
func collides(ctx context.Context, shard *Shard, columns Columns, labels Labels) bool {
	reader, err := shard.Format.Open(ctx, shard.Store, shard.Path, columns)
	if err != nil {
		return false
	}
	defer reader.Close() //nolint:errcheck // it was only read
	record, err := reader.Next()
	if err != nil && !errors.Is(err, io.EOF) {
		return false
	}
	writer, err := reader.Writer(io.Discard, func(string, []byte) error { return nil }, labels)
	if err == nil && record != nil {
		err = writer.Write(record, &Label{ErrorCode: "not_scored"})
		err = errors.Join(err, writer.Close())
	}
	return errors.Is(err, ErrDoNotFit)
}
