package batch

import (
	"math"
	"time"
)

// rateMemory is the share of the past that one batch leaves standing: about
// the last ten batches count.
const rateMemory = 0.9

// rate measures how many samples one busy evaluator scores a second. Idle time
// does not count, so that a quiet night does not look like a slow machine.
type rate struct {
	samples, seconds float64
}

func (r *rate) add(samples int, d time.Duration) {
	r.samples = r.samples*rateMemory + float64(samples)
	r.seconds = r.seconds*rateMemory + d.Seconds()
}

// perSecond is samples a second of one evaluator; 0 if nothing is known.
func (r *rate) perSecond() float64 {
	if r.seconds <= 0 {
		return 0
	}
	return r.samples / r.seconds
}

const (
	minRetryAfter = time.Second
	maxRetryAfter = 2 * time.Minute
)

// retryAfter is how long evaluators that share the load need for samples. With
// nothing known about the rate it is the shortest, with nobody at work the
// longest.
func (r *rate) retryAfter(samples float64, evaluators int) time.Duration {
	if evaluators == 0 {
		return maxRetryAfter
	}
	perSecond := r.perSecond() * float64(evaluators)
	if perSecond == 0 {
		return minRetryAfter
	}
	seconds := math.Min(samples/perSecond, maxRetryAfter.Seconds())
	return max(minRetryAfter, time.Duration(seconds*float64(time.Second)))
}
