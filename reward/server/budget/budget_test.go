package budget

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestALoanThatLagsIsCalledBackAndOneThatMovesIsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(100, 100, 10)
		called := map[string]int{}
		open := func(name string) *Loan {
			l := b.Open("a")
			if err := l.Grow(50); err != nil {
				t.Fatal(err)
			}
			l.Watch(func() { called[name]++; go l.Return() })
			return l
		}
		open("lags")
		moves := open("moves")
		for range 30 {
			time.Sleep(100 * time.Millisecond)
			moves.Moved(1)
		}
		next := b.Open("a")
		if err := next.Grow(50); err != nil {
			t.Fatal(err)
		}
		if called["lags"] != 1 || called["moves"] != 0 {
			t.Errorf("called back: %v", called)
		}
		if err := next.Grow(1); !errors.Is(err, ErrFull) {
			t.Errorf("error %v, want ErrFull: nobody lags", err)
		}
		moves.Return()
		moves.Return()
		next.Return()
		if b.Held() != 0 {
			t.Errorf("%d bytes are held", b.Held())
		}
	})
}

func TestNobodyIsCalledBackInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(100, 100, 10)
		l, other := b.Open("a"), b.Open("a")
		if err := errors.Join(l.Grow(20), other.Grow(80)); err != nil {
			t.Fatal(err)
		}
		l.Watch(func() { t.Error("called back for what it cannot give") })
		time.Sleep(time.Minute)
		if err := b.Open("a").Grow(30); !errors.Is(err, ErrFull) {
			t.Errorf("error %v, want ErrFull", err)
		}
		var large *TooLargeError
		if err := b.Open("a").Grow(101); !errors.As(err, &large) {
			t.Errorf("error %v, want a TooLargeError", err)
		}
	})
}

func TestHasteIsNotSavedUp(t *testing.T) {
	now := time.Unix(1000, 0)
	if got := Advance(now.Add(-time.Second), now, 1<<30, 1); got != now {
		t.Errorf("the clock is %v after a fast gigabyte, want now", got)
	}
	if got, want := Advance(now.Add(-time.Minute), now, 10, 1), now.Add(-50*time.Second); got != want {
		t.Errorf("the clock is %v, want %v", got, want)
	}
}

func TestABufferIsAtMostAnEighthTooLarge(t *testing.T) {
	for n := int64(1); n < 1<<30; n += n/7 + 1 {
		if c := Capacity(n); c < n || c > n+n/8 || Capacity(c) != c {
			t.Fatalf("capacity %d for %d bytes", c, n)
		}
	}
}

func TestAPlanIsCutInProportion(t *testing.T) {
	p := Plan{Bodies: 4 << 30, Queue: 4 << 30, Cache: 256 << 20, Groups: 1 << 30, Connections: 1024, Decoders: 2, ImagePixels: 64 << 20}
	if got, err := p.Within(p.Total()); err != nil || got != p {
		t.Errorf("%+v, %v: want it as it is", got, err)
	}
	got, err := p.Within(3 << 30)
	if err != nil || got.Total() > 3<<30 || got.Total() < 3<<30-8 || got.Bodies != got.Queue || got.Bodies/got.Groups != 4 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := p.Within(p.fixed()); err == nil {
		t.Error("a total without room for any body was taken")
	}
}

func TestAClientThatHoldsSomeHasNoMoreThanItsShare(t *testing.T) {
	b := New(100<<20, 60<<20, 10)
	first, second, other := b.Open("a"), b.Open("a"), b.Open("b")
	if err := first.Grow(70 << 20); err != nil {
		t.Errorf("its first loan may be of any size: %v", err)
	}
	if err := second.Grow(1 << 20); !errors.Is(err, ErrFull) || b.Refused() != 1 {
		t.Errorf("beyond its share: %v, %d refused", err, b.Refused())
	}
	if err := other.Grow(10 << 20); err != nil {
		t.Errorf("another client: %v", err)
	}
	first.Shrink(30 << 20)
	if err := second.Grow(20 << 20); err != nil {
		t.Errorf("within its share again: %v", err)
	}
	if err := second.Grow(1 << 20); !errors.Is(err, ErrFull) {
		t.Errorf("beyond its share again: %v", err)
	}
	first.Return()
	second.Return()
	other.Return()
	if len(b.clients) != 0 || b.Held() != 0 {
		t.Errorf("%v, %d held", b.clients, b.Held())
	}
}
