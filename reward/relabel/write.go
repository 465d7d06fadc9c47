package relabel

import (
	"context"
	"errors"
)

// shardWriter writes the outputs, one shard after the other.
type shardWriter struct {
	job     *Job
	summary *Summary
	flight  *flight

	open   *opened // the shard that is being written
	upload Upload
	beside *besides // files of the upload
	writer Writer
	bad    error // why open has no output, although it goes on being read
	counts Counts
	done   int64 // bytes of the shards before
}

// writeAll takes items until there are no more, or the run fails.
func (w *shardWriter) writeAll(ctx context.Context, work <-chan item) error {
	for i := range work {
		if err := w.take(ctx, i); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

func (w *shardWriter) take(ctx context.Context, i item) error {
	switch {
	case i.fatal != nil:
		return i.fatal
	case i.skip != nil:
		w.summary.Skipped++
		w.pass(i.skip)
		return nil
	case i.begin != nil:
		return w.begin(ctx, i.begin)
	case i.chunk != nil:
		return w.chunk(ctx, i.chunk)
	case i.end:
		return w.end(ctx)
	}
	return w.giveUp(i.bad)
}

// pass counts a shard as done with.
func (w *shardWriter) pass(s *Shard) {
	w.summary.Finished++
	w.done += s.Size
	w.summary.Bytes = w.done
	w.report()
}

func (w *shardWriter) report() {
	if w.job.Progress != nil {
		w.job.Progress(w.summary.Progress)
	}
}

func (w *shardWriter) begin(ctx context.Context, o *opened) error {
	w.open, w.counts, w.bad = o, Counts{}, nil
	var err error
	if w.upload, err = w.job.Output.Create(ctx, o.shard.Name); err != nil {
		return err
	}
	w.beside = newBesides(ctx, w.job.Output, o.shard.Name)
	// The source may lack room for the labels' columns.
	w.writer, w.bad = o.reader.Writer(w.upload, w.beside.write, w.job.Config.Labels)
	return nil
}

func (w *shardWriter) chunk(ctx context.Context, c *chunk) error {
	select {
	case <-c.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer w.flight.leave(c.bytes)
	if c.err != nil {
		return c.err
	}
	if w.bad != nil {
		return nil
	}
	if !c.resumed {
		if err := w.open.journal.add(c.index, c.labels, w.job.Now()); err != nil {
			return err
		}
	} else {
		w.summary.Resumed += len(c.labels)
	}
	for i, record := range c.records {
		err := w.writer.Write(record, &c.labels[i])
		if errors.Is(err, ErrDoNotFit) {
			w.bad = err
			return nil
		}
		if err != nil {
			return err
		}
		w.counts.add(&c.labels[i])
		w.summary.add(&c.labels[i])
	}
	w.summary.Bytes = w.done + c.position
	w.report()
	return nil
}

// end makes the output visible, marks it and drops the journal.
func (w *shardWriter) end(ctx context.Context) error {
	shard := w.open.shard
	if w.bad != nil {
		return w.giveUp(&ShardError{shard.Name, w.bad})
	}
	if err := w.writer.Close(); err != nil {
		return err
	}
	if err := w.beside.wait(); err != nil {
		return err
	}
	upload := w.upload
	w.upload = nil // also when it fails, Commit ends it
	if err := upload.Commit(); err != nil {
		return err
	}
	marker := Marker{Config: w.job.Config.hash(), InputSize: shard.Size, Source: shard.source(), Counts: w.counts}
	if err := writeJSON(ctx, w.job.Output, markerName(shard.Name), marker); err != nil {
		return err
	}
	if w.counts.Failed == 0 { // else it is kept for RetryFailed
		if err := w.open.journal.remove(); err != nil {
			return err
		}
	}
	err := w.open.close()
	w.open = nil
	if err != nil {
		return err
	}
	w.pass(shard)
	return nil
}

// giveUp leaves a shard without output.
func (w *shardWriter) giveUp(bad *ShardError) error {
	w.abandon(nil)
	w.summary.ShardErrors = append(w.summary.ShardErrors, bad)
	w.summary.Unreadable++
	w.report()
	return nil
}

// abandon leaves nothing but its journal of a shard that is being written, and
// closes the shards that were opened ahead.
func (w *shardWriter) abandon(ahead []*opened) {
	if w.upload != nil {
		_ = w.beside.wait() // the next run writes them again
		w.upload.Abort()
		w.upload = nil
	}
	if w.open != nil {
		w.open.abandon()
		w.open = nil
	}
	for _, o := range ahead {
		o.abandon()
	}
}
