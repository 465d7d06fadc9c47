package batch

import (
	"context"
	"time"

	"github.com/denseflow/densereward/reward"
)

// A Job is one sample on its way to the evaluator, its image perhaps still
// encoded.
type Job struct {
	// Sample is what to score. Its Image may be nil if Load gives it.
	Sample reward.Sample

	// Load decodes the image. It runs once, on a worker, when the sample's
	// turn comes; ctx ends when nobody waits for the sample any more. Load may
	// be nil if Sample.Image is set.
	Load func(ctx context.Context) (*reward.Image, error)

	// Source, if not nil, is the file that Load decodes. The cache remembers
	// which pixels a file has, so that one it knows is not decoded again.
	Source []byte

	// Bytes is what the sample holds in memory until it is answered, encoded
	// and decoded together.
	Bytes int64

	// Release, if not nil, is called exactly once, when the Scheduler has let
	// go of Sample, Source and Load, whatever became of them. After a deadline
	// that may be later than Score's return: an evaluator may still be reading
	// the image. It must be quick and must not call the Scheduler.
	Release func()
}

// An Outcome is what became of one Job. Result.Err says why a job has no
// result; the Result may be shared and is read-only.
type Outcome struct {
	reward.Result

	// Cached is set if the result was taken from the cache or from identical
	// work that was already in flight.
	Cached bool

	Timing Timing
}

// Timing says where a sample's time went.
type Timing struct {
	Queue    time.Duration // waiting for a worker
	Prepare  time.Duration // decoding, hashing, the evaluator's Preparer
	Wait     time.Duration // ready, waiting for its batch
	Evaluate time.Duration // in Evaluate
}

// request is one call of Score. Its fields are guarded by the Scheduler.
type request struct {
	ctx      context.Context
	client   string
	admitted time.Time
	outcomes []Outcome
	tickets  []ticket
	open     int           // tickets not yet answered
	err      error         // set when the request is given up as a whole
	done     chan struct{} // closed when open reaches 0 or the request is abandoned

	// For the formation of batches: how many samples are not ready yet, when
	// the first became ready, and when the last did.
	unready               int
	firstReady, lastReady time.Time
}

// ticket is one caller's claim on one work. Most works have one ticket;
// identical ones share.
type ticket struct {
	req    *request
	index  int
	bytes  int64 // of its job
	work   *work // nil once answered
	cached bool
	joined time.Time // when it took to another's work; zero if work is its own
	timing Timing
}

func newRequest(ctx context.Context, jobs []Job, now time.Time) (*request, []work) {
	req := &request{
		ctx:      ctx,
		client:   clientOf(ctx),
		admitted: now,
		outcomes: make([]Outcome, len(jobs)),
		tickets:  make([]ticket, len(jobs)),
		open:     len(jobs),
		unready:  len(jobs),
		done:     make(chan struct{}),
	}
	works := make([]work, len(jobs))
	for i := range jobs {
		w := &works[i]
		*w = work{
			sample:  jobs[i].Sample,
			load:    jobs[i].Load,
			source:  jobs[i].Source,
			release: jobs[i].Release,
			bytes:   jobs[i].Bytes,
			samples: 1,
			req:     req,
		}
		req.tickets[i] = ticket{req: req, index: i, bytes: jobs[i].Bytes, work: w}
		w.tickets = w.own[:1]
		w.own[0] = &req.tickets[i]
	}
	return req, works
}

// settle notes that one more sample of the request is ready or has dropped out.
func (r *request) settle(now time.Time) {
	if r.firstReady.IsZero() {
		r.firstReady = now
	}
	r.unready--
	if r.unready == 0 {
		r.lastReady = now
	}
}
