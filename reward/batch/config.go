package batch

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"time"

	"github.com/denseflow/densereward/reward"
)

// Config says how a Scheduler forms batches and how much it holds. Start from
// DefaultConfig.
type Config struct {
	// MaxBatch is the largest number of samples in one call of Evaluate.
	MaxBatch int

	// MaxDelay is how long an idle evaluator waits for a fuller batch once
	// every sample of a request is ready: a request that is alone is delayed
	// by no more than this. 0 starts with whatever is ready.
	MaxDelay time.Duration

	// Eager starts a batch as soon as nothing that could join it is being
	// prepared, instead of waiting out MaxDelay for requests yet to come.
	Eager bool

	// Workers is the number of samples decoded and prepared at a time.
	Workers int

	// QueueSamples and QueueBytes bound what has been admitted and not yet
	// answered. Bytes are those that the jobs declare.
	QueueSamples int
	QueueBytes   int64

	// CacheBytes is the size of the result cache. 0 turns it off, and with it
	// the sharing of identical work in flight.
	CacheBytes int64

	// Observer is told what happens; nil tells nobody.
	Observer Observer

	// Logger is told of what an operator should look into: failing, panicking
	// and hanging evaluators. nil tells nobody.
	Logger *slog.Logger
}

// DefaultConfig suits one large model on one accelerator.
func DefaultConfig() Config {
	return Config{
		MaxBatch:     32,
		MaxDelay:     5 * time.Millisecond,
		Workers:      runtime.GOMAXPROCS(0),
		QueueSamples: 4096,
		QueueBytes:   4 << 30,
		CacheBytes:   256 << 20,
	}
}

// validate names the field that is wrong, and what it may be.
func (c *Config) validate() error {
	switch {
	case c.MaxBatch < 1:
		return fmt.Errorf("batch: MaxBatch is %d, want at least 1", c.MaxBatch)
	case c.MaxDelay < 0:
		return fmt.Errorf("batch: MaxDelay is %v, want at least 0", c.MaxDelay)
	case c.Workers < 1:
		return fmt.Errorf("batch: Workers is %d, want at least 1", c.Workers)
	case c.QueueSamples < 1:
		return fmt.Errorf("batch: QueueSamples is %d, want at least 1", c.QueueSamples)
	case c.QueueBytes < 1:
		return fmt.Errorf("batch: QueueBytes is %d, want at least 1", c.QueueBytes)
	case c.CacheBytes < 0:
		return fmt.Errorf("batch: CacheBytes is %d, want at least 0", c.CacheBytes)
	}
	return nil
}

// fillIn replaces the optional interfaces that are nil.
func (c *Config) fillIn() {
	if c.Observer == nil {
		c.Observer = blind{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
}

// sameCheckpoint checks that evaluators may share one queue and one cache.
func sameCheckpoint(evaluators []reward.Evaluator) error {
	if len(evaluators) == 0 {
		return errors.New("batch: no evaluator")
	}
	first := evaluators[0].Describe().Fingerprint
	for i, e := range evaluators {
		if f := e.Describe().Fingerprint; f != first {
			return fmt.Errorf("batch: evaluator %d has fingerprint %q, the first has %q: only one checkpoint can share a queue", i, f, first)
		}
	}
	return nil
}
