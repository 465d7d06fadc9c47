// Package memorylimit bounds how much is done at once where nobody can tell
// beforehand how much memory that takes: the bound is lowered when memory runs
// out, and its double tried after a while, ever more rarely if that is in vain.
package memorylimit

import (
	"sync/atomic"
	"time"
)

const (
	// Recovery is how long a limit stands that was lowered, before its double is
	// tried. Each time that this runs out of memory again, it stands twice as
	// long, up to LongestRecovery: a try may cost seconds.
	Recovery        = time.Minute
	LongestRecovery = 64 * time.Minute
)

// Limit is how much is done at once. Anybody may load it; its methods are for
// one caller at a time.
type Limit struct {
	atomic.Int64
	full   int
	raise  time.Time     // when to double, or when a try has gone well
	pause  time.Duration // from one raise to the next
	trying bool          // it was doubled, and it is not raise yet
}

// New is a limit that is never above full.
func New(full int) *Limit {
	l := &Limit{full: full, pause: Recovery}
	l.Store(int64(full))
	return l
}

// Raised is the limit, doubled if it was lowered a while ago.
func (l *Limit) Raised(now time.Time) int {
	at := int(l.Load())
	if at == l.full || now.Before(l.raise) {
		return at
	}
	l.endTry(true)
	at = min(2*at, l.full)
	l.Store(int64(at))
	l.trying, l.raise = true, now.Add(l.pause)
	return at
}

// Lower sets the limit to what memory has sufficed for, or may, where there was
// none for more. It returns when the double will be tried.
func (l *Limit) Lower(to int, now time.Time) time.Time {
	l.Store(min(l.Load(), int64(to)))
	l.endTry(!now.Before(l.raise))
	l.raise = now.Add(l.pause)
	return l.raise
}

// endTry decides how long the limit stands next.
func (l *Limit) endTry(well bool) {
	switch {
	case !l.trying:
	case well:
		l.pause = Recovery
	default:
		l.pause = min(2*l.pause, LongestRecovery)
	}
	l.trying = false
}
