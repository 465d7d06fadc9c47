package loadgen

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// A Target is what load is put on. Ask sends its next request and waits for the
// answer. It is called from many goroutines.
type Target interface {
	Ask(ctx context.Context) Answer
}

// An Answer is what became of one request.
type Answer struct {
	Code           string // OK or what went wrong, in a word
	Images         int    // scored without an error
	Failed         int    // answered with an error of their own
	Sent, Received int64  // bytes of bodies
}

// OK is the Code of a request that was answered as it should be.
const OK = "ok"

// Load says how much of it, and for how long.
type Load struct {
	// Concurrency is the number of requests in flight: always, in a closed
	// loop; at most, in an open one.
	Concurrency int
	// Rate is the number of requests a second of an open loop; 0 is a closed
	// one.
	Rate float64
	// Random spreads the arrivals of an open loop as a Poisson process does;
	// otherwise they are evenly spaced.
	Random bool
	// Seed is that of random arrivals.
	Seed uint64
	// Warmup is how long the load runs before it is measured.
	Warmup time.Duration
	// Duration is how long it is measured.
	Duration time.Duration
	// Timeout bounds each request.
	Timeout time.Duration
	// ServerCPU, if not nil, gives the processor time that the server has used
	// so far, 0 if that cannot be told. It is called when the measurement begins
	// and when it is over.
	ServerCPU func() time.Duration
}

func (l *Load) validate() error {
	switch {
	case l.Concurrency < 1:
		return fmt.Errorf("loadgen: concurrency is %d, want at least 1", l.Concurrency)
	case !(l.Rate >= 0 && l.Rate <= 1e6):
		return fmt.Errorf("loadgen: rate is %v, want 0 to a million", l.Rate)
	case l.Duration <= 0 || l.Warmup < 0:
		return errors.New("loadgen: want a positive duration")
	case l.Timeout <= 0:
		return errors.New("loadgen: want a positive timeout")
	}
	return nil
}

type run struct {
	load   Load
	target Target
	began  time.Time // of the measurement

	mu     sync.Mutex
	shots  []shot
	closed time.Time // when the last measured answer came
}

// shot is one measured request.
type shot struct {
	latency time.Duration
	answer  Answer
}

// Run puts the load on the target until it is over or ctx ends, waits for the
// last answers, and reports.
func Run(ctx context.Context, l Load, target Target) (*Report, error) {
	if err := l.validate(); err != nil {
		return nil, err
	}
	r := &run{load: l, target: target, began: time.Now().Add(l.Warmup)}
	end := r.began.Add(l.Duration)
	issue, stop := context.WithDeadline(ctx, end)
	defer stop()
	before := make(chan meters, 1)
	warm := time.AfterFunc(l.Warmup, func() { before <- r.meters() })
	defer warm.Stop()
	if l.Rate > 0 {
		r.open(issue, ctx)
	} else {
		r.closedLoop(issue, ctx)
	}
	if len(r.shots) == 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return nil, errors.New("loadgen: no request was due within the measurement")
	}
	start, now := <-before, r.meters()
	return r.report(used(start.client, now.client), used(start.server, now.server)), nil
}

// meters are the processor times so far.
type meters struct{ client, server time.Duration }

func (r *run) meters() meters {
	m := meters{client: CPU()}
	if r.load.ServerCPU != nil {
		m.server = r.load.ServerCPU()
	}
	return m
}

// used is the processor time between two readings, and 0, which stands for
// unknown, where one of them is missing or the process was another one.
func used(before, after time.Duration) time.Duration {
	if before == 0 {
		return 0
	}
	return max(after-before, 0)
}

// closedLoop keeps Concurrency requests in flight until issue ends.
func (r *run) closedLoop(issue, ctx context.Context) {
	var workers sync.WaitGroup
	for range r.load.Concurrency {
		workers.Go(func() {
			for issue.Err() == nil {
				r.fire(ctx, time.Now())
			}
		})
	}
	workers.Wait()
}

// open sends requests at their times until issue ends.
func (r *run) open(issue, ctx context.Context) {
	rng := rand.New(rand.NewPCG(r.load.Seed, 0))
	places := make(chan struct{}, r.load.Concurrency)
	var requests sync.WaitGroup
	for due := time.Now(); sleepUntil(issue, due); due = due.Add(r.gap(rng)) {
		select {
		case places <- struct{}{}:
		case <-issue.Done():
			continue
		}
		requests.Go(func() {
			r.fire(ctx, due)
			<-places
		})
	}
	requests.Wait()
}

// gap is the time to the next arrival.
func (r *run) gap(rng *rand.Rand) time.Duration {
	seconds := 1 / r.load.Rate
	if r.load.Random {
		seconds *= rng.ExpFloat64()
	}
	return time.Duration(seconds * float64(time.Second))
}

// sleepUntil reports whether t was reached before ctx ended.
func sleepUntil(ctx context.Context, t time.Time) bool {
	wait := time.Until(t)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// fire sends one request that was due at a time, and records it if that was
// within the measurement.
func (r *run) fire(ctx context.Context, due time.Time) {
	ctx, cancel := context.WithTimeout(ctx, r.load.Timeout)
	defer cancel()
	answer := r.target.Ask(ctx)
	now := time.Now()
	if due.Before(r.began) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shots = append(r.shots, shot{now.Sub(due), answer})
	r.closed = now
}
