package reward

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
)

// ErrOutOfMemory is wrapped by the error that Evaluate returns when a batch
// takes more memory than the device has. A smaller batch may succeed.
var ErrOutOfMemory = errors.New("out of memory")

// ErrUnreadable is wrapped by the error of a sample to which the model gave an answer
// that says nothing: the evaluator works, and other images may have other answers.
var ErrUnreadable = errors.New("unreadable answer")

// Mode is the way an evaluator answers.
type Mode string

const (
	// ModeAnswer goes straight to the scores. It is fast and the default for
	// reinforcement learning.
	ModeAnswer Mode = "answer"
	// ModeThink looks, thinks and then predicts: boxes and reasoning precede
	// the scores.
	ModeThink Mode = "think"
)

// Valid reports whether m is a mode of the protocol.
func (m Mode) Valid() bool { return m == ModeAnswer || m == ModeThink }

// Image is a decoded image. Pix holds Height*Width*3 bytes: RGB, row major.
type Image struct {
	Width, Height int
	Pix           []uint8
}

// Sample is one image with the prompt it was generated from. The evaluator
// reads Image and Metadata and must not change them.
type Sample struct {
	Image  *Image
	Prompt string
	Mode   Mode

	// Metadata is what else the evaluator may want to know of the sample, such
	// as the text that the image should show. Values are nil, bool, int64,
	// float64, string, []byte, []any and map[string]any of these. A name that
	// the evaluator does not know means nothing to it.
	Metadata map[string]any

	// Continuation is how the prompt is continued in ModeGenerate; unused otherwise.
	Continuation Continuation

	// Prepared is what the evaluator's Preparer made of the sample; nil if it
	// was not prepared ahead. Only the evaluator that made it reads it.
	Prepared any
}

// An Evaluator scores images.
//
// Evaluate returns one Result per sample, in order. A sample that cannot be
// scored has Result.Err set and costs its neighbours nothing; the error that
// Evaluate itself returns concerns the whole batch. Evaluate is safe for
// concurrent use and returns early with ctx's error when ctx is done.
//
// Describe says what Evaluate gives. It answers the same for the evaluator's
// whole life.
type Evaluator interface {
	Evaluate(ctx context.Context, samples []Sample) ([]Result, error)
	Describe() Description
}

// A Preparer does the host's share of the work on one sample (resizing,
// patches, token ids) ahead of its batch, off the accelerator's path. It sets
// s.Prepared. It is safe for concurrent use. An evaluator must accept samples
// that were not prepared.
type Preparer interface {
	Prepare(ctx context.Context, s *Sample) error
}

// PrepareAll prepares samples, which it changes, on all cores: what an Evaluator does that
// is given samples that no scheduler has prepared. It gives the error of each.
func PrepareAll(ctx context.Context, p Preparer, samples []Sample) []error {
	errs, panics := make([]error, len(samples)), make([]any, len(samples))
	var next atomic.Int64
	var running sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(samples)) {
		running.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(samples)); i = next.Add(1) - 1 {
				func() {
					defer func() { panics[i] = recover() }() // it is the caller's
					errs[i] = p.Prepare(ctx, &samples[i])
				}()
			}
		})
	}
	running.Wait()
	for _, p := range panics {
		if p != nil {
			panic(p)
		}
	}
	return errs
}

// A TokenCounter is a Preparer whose batches are bounded by tokens: a batch costs
// the tokens of its largest sample for each of its samples. Evaluate takes batches of
// any size and cuts them itself, so that a scheduler need not count.
type TokenCounter interface {
	// Tokens is what a prepared sample has, 0 for one that is not prepared.
	Tokens(s *Sample) int
	// BatchTokens is the most that a batch should come to.
	BatchTokens() int
}
