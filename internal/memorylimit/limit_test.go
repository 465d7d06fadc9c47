package memorylimit

import (
	"testing"
	"time"
)

func TestALimitIsRaisedNoHigherThanItWas(t *testing.T) {
	start := time.Now()
	l := New(100)
	if raise := l.Lower(70, start); raise != start.Add(Recovery) {
		t.Errorf("the double is tried after %v, want %v", raise.Sub(start), Recovery)
	}
	if got := l.Raised(start.Add(Recovery - 1)); got != 70 {
		t.Errorf("raised to %d before its time", got)
	}
	if got := l.Raised(start.Add(Recovery)); got != 100 || l.Load() != 100 {
		t.Errorf("raised from 70 to %d, want 100", got)
	}
}

func TestALimitIsNotRaisedByLowering(t *testing.T) {
	l := New(16)
	l.Lower(4, time.Now())
	l.Lower(8, time.Now())
	if got := l.Load(); got != 4 {
		t.Errorf("limit %d, want 4", got)
	}
}

func TestEachTryInVainIsFollowedByTwiceTheWait(t *testing.T) {
	now := time.Now()
	l := New(8)
	raise := l.Lower(4, now)
	for _, minutes := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 64} {
		if got := raise.Sub(now); got != minutes*time.Minute {
			t.Fatalf("a wait of %v, want %d minutes", got, minutes)
		}
		now = raise
		if got := l.Raised(now); got != 8 {
			t.Fatalf("raised to %d, want 8", got)
		}
		raise = l.Lower(4, now)
	}
	// A try that goes well for as long as it had to ends this.
	now = raise
	l.Raised(now)
	now = now.Add(LongestRecovery)
	if got := l.Lower(4, now).Sub(now); got != Recovery {
		t.Errorf("after a try that went well a wait of %v, want %v", got, Recovery)
	}
}
