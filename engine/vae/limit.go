package vae

import (
	"sync/atomic"
	"time"
)

const (
	// limitRecovery is how long a limit stands that was lowered for want of
	// memory, before its double is tried. Each time that this runs out of
	// memory again, it stands twice as long, up to longestRecovery: a try
	// loads the sessions anew and may cost seconds.
	limitRecovery   = time.Minute
	longestRecovery = 64 * time.Minute
)

// limit is how many image pixels are decoded at once. It is below full for a
// while after memory ran out, and doubles at raise. Anybody may load it; the
// rest belongs to whoever has the decoder's turn.
type limit struct {
	atomic.Int64
	full   int
	raise  time.Time     // when to double, or when a try has gone well
	pause  time.Duration // from one raise to the next
	trying bool          // it was doubled, and it is not raise yet
}

func newLimit(full int) *limit {
	l := &limit{full: full, pause: limitRecovery}
	l.Store(int64(full))
	return l
}

// raised is the limit, doubled if it was lowered a while ago.
func (l *limit) raised(now time.Time) int {
	pixels := int(l.Load())
	if now.Before(l.raise) {
		return pixels
	}
	if l.trying {
		l.trying, l.pause = false, limitRecovery
	}
	if pixels < l.full {
		pixels = min(2*pixels, l.full)
		l.Store(int64(pixels))
		l.trying, l.raise = true, now.Add(l.pause)
	}
	return pixels
}

// lower sets the limit to what memory has sufficed for, where there was none
// for more.
func (l *limit) lower(pixels int, now time.Time) {
	if l.trying {
		l.trying, l.pause = false, min(2*l.pause, longestRecovery)
	}
	l.Store(int64(pixels))
	l.raise = now.Add(l.pause)
}
