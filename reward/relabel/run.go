package relabel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"unicode/utf8"

	"github.com/denseflow/densereward/reward"
)

// Run labels the shards of a job. It returns what it did also when it fails; the
// error concerns the whole run. Shards that cannot be read are in the Summary.
func Run(ctx context.Context, job Job) (Summary, error) {
	summary := Summary{Progress: Progress{Shards: len(job.Shards)}}
	if err := job.check(); err != nil {
		return summary, err
	}
	if err := claim(ctx, job.Output, &job.Config, job.Overwrite); err != nil {
		return summary, err
	}
	for _, s := range job.Shards {
		summary.AllBytes += s.Size
	}
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &runner{job: &job, flight: newFlight(job.Concurrency, job.MaxBytes)}
	work := make(chan item, job.Concurrency)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(work)
		r.readAll(running, work)
	})
	w := &shardWriter{job: &job, summary: &summary, flight: r.flight}
	err := w.writeAll(running, work)
	cancel(err)
	var left []*opened // shards that the writer has not come to
	for i := range work {
		if i.begin != nil {
			left = append(left, i.begin)
		}
	}
	reading.Wait()
	r.evaluating.Wait()
	w.abandon(left)
	if err != nil {
		return summary, err
	}
	manifest, err := ReadManifest(ctx, job.Output)
	if err != nil {
		return summary, err
	}
	return summary, writeJSON(ctx, job.Output, manifestName, manifest)
}

// item is one step of the writer: exactly one field is set. Items come in the
// order of the input.
type item struct {
	skip  *Shard
	begin *opened
	chunk *chunk
	end   bool
	bad   *ShardError // in place of an end: the shard has no output
	fatal error
}

// opened is a shard that is being read and written.
type opened struct {
	shard   *Shard
	reader  Reader
	journal *journal
}

func (o *opened) close() error {
	return errors.Join(o.reader.Close(), o.journal.close())
}

// abandon closes what nothing more is expected of: the next run writes again
// what could be lost.
func (o *opened) abandon() { _ = o.close() }

// chunk is a run of records with, later, their labels.
type chunk struct {
	index    int
	records  []*Record
	bytes    int64
	position int64 // of the reader behind it
	resumed  bool  // its labels come from the journal
	done     chan struct{}
	labels   []Label // set when done is closed
	err      error
}

// runner reads shards and has their chunks evaluated.
type runner struct {
	job        *Job
	flight     *flight
	evaluating sync.WaitGroup
}

func (r *runner) readAll(ctx context.Context, work chan<- item) {
	for i := range r.job.Shards {
		if !r.readShard(ctx, &r.job.Shards[i], work) {
			return
		}
	}
}

// readShard sends the items of one shard and reports whether to go on.
func (r *runner) readShard(ctx context.Context, shard *Shard, work chan<- item) bool {
	send := func(i item) bool {
		select {
		case work <- i:
			return true
		case <-ctx.Done():
			return false
		}
	}
	todo, err := r.job.pending(ctx, shard)
	if err == nil && !todo {
		return send(item{skip: shard})
	}
	var o *opened
	if err == nil {
		o, err = r.open(ctx, shard)
	}
	var unreadable *ShardError
	if errors.As(err, &unreadable) {
		return send(item{bad: unreadable})
	}
	if err != nil {
		send(item{fatal: err})
		return false
	}
	if !send(item{begin: o}) {
		o.abandon()
		return false
	}
	if err := r.readChunks(ctx, o, send); err != nil {
		return send(item{bad: &ShardError{shard.Name, err}})
	}
	return send(item{end: true})
}

// open opens a shard and its journal. What concerns the shard is a ShardError.
func (r *runner) open(ctx context.Context, shard *Shard) (*opened, error) {
	reader, err := shard.Format.Open(ctx, shard.Store, shard.Path, r.job.Config.Columns)
	if err != nil {
		return nil, &ShardError{shard.Name, err}
	}
	header := journalHeader{shard.Name, shard.Size, r.job.Config.hash()}
	journal, err := openJournal(r.job.journalPath(shard.Name), header)
	if err != nil {
		return nil, errors.Join(err, reader.Close())
	}
	return &opened{shard, reader, journal}, nil
}

// readChunks cuts a shard into chunks, each of which is evaluated as soon as it
// has been read. It returns why the shard cannot be read on.
func (r *runner) readChunks(ctx context.Context, o *opened, send func(item) bool) error {
	var last int64
	for index := 0; ; index++ {
		if !r.flight.enter(ctx) {
			return nil
		}
		c := &chunk{index: index, done: make(chan struct{})}
		var err error
		for len(c.records) < r.job.Config.ChunkSize && err == nil {
			var record *Record
			if record, err = o.reader.Next(); err == nil {
				if record.Err == nil && !utf8.ValidString(record.Prompt) {
					record.Err = reward.ErrInvalidValue.With("the prompt is not UTF-8")
				}
				c.records = append(c.records, record)
			}
		}
		c.position = o.reader.Position()
		c.bytes = c.position - last
		last = c.position
		if err != nil && !errors.Is(err, io.EOF) {
			r.flight.leave(0)
			return err
		}
		if len(c.records) == 0 {
			r.flight.leave(0)
			return nil
		}
		r.flight.hold(c.bytes)
		r.evaluating.Go(func() {
			defer close(c.done)
			c.err = r.label(ctx, o.journal, c)
		})
		if !send(item{chunk: c}) || err != nil {
			return nil
		}
	}
}

func (r *runner) label(ctx context.Context, j *journal, c *chunk) error {
	if at, known := j.chunks[c.index]; known {
		labels, err := j.read(at)
		if err != nil {
			return err
		}
		if len(labels) != len(c.records) {
			return fmt.Errorf("the journal has %d labels for the %d records of chunk %d", len(labels), len(c.records), c.index)
		}
		c.labels, c.resumed = labels, true
		if r.job.RetryFailed {
			return r.retry(ctx, c)
		}
		return nil
	}
	labels, err := r.job.Evaluate(ctx, c.records)
	if err == nil && len(labels) != len(c.records) {
		err = fmt.Errorf("%d labels for %d records", len(labels), len(c.records))
	}
	c.labels = labels
	return err
}

// retry evaluates the failed records of a chunk again, by themselves.
func (r *runner) retry(ctx context.Context, c *chunk) error {
	var failed []int
	var records []*Record
	for i := range c.labels {
		if c.labels[i].Failed() {
			failed, records = append(failed, i), append(records, c.records[i])
		}
	}
	if len(failed) == 0 {
		return nil
	}
	labels, err := r.job.Evaluate(ctx, records)
	if err != nil {
		return err
	}
	if len(labels) != len(records) {
		return fmt.Errorf("%d labels for %d records", len(labels), len(records))
	}
	for k, i := range failed {
		c.labels[i] = labels[k]
	}
	c.resumed = false // it goes into the journal anew
	return nil
}
