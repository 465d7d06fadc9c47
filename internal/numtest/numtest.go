// Package numtest compares numbers in tests: every comparison has an absolute
// and a relative tolerance, and a failure says how many values are wrong and
// which is the worst.
//
// A value passes when it meets either bound,
//
//	|got-want| <= max(Abs, Rel*|want|),
//
// so that Abs speaks for numbers near zero and Rel for all others. A NaN never
// passes; an infinity passes only for the same infinity.
package numtest

import (
	"fmt"
	"math"
	"testing"
)

// Float is a number that can be compared.
type Float interface{ ~float32 | ~float64 }

// Tolerance says how far a number may lie from the one that is wanted.
type Tolerance struct {
	Abs float64 // absolute, in the unit of the number
	Rel float64 // relative to the wanted number
}

// Allows reports whether got may stand for want.
func (tol Tolerance) Allows(got, want float64) bool {
	if got == want {
		return true
	}
	if math.IsInf(got, 0) || math.IsInf(want, 0) {
		return false
	}
	return math.Abs(got-want) <= math.Max(tol.Abs, tol.Rel*math.Abs(want)) // false for NaN
}

// Value fails the test when got may not stand for want.
func Value[G Float](tb testing.TB, name string, got G, want float64, tol Tolerance) {
	tb.Helper()
	if g := float64(got); !tol.Allows(g, want) {
		tb.Errorf("%s = %.17g, want %.17g (%s)", name, g, want, excess(g, want, tol))
	}
}

// Slice fails the test when the lengths differ or any element of got may not
// stand for its counterpart in want. It reports once, naming the worst element.
func Slice[G, W Float](tb testing.TB, name string, got []G, want []W, tol Tolerance) {
	tb.Helper()
	if len(got) != len(want) {
		tb.Errorf("%s has %d values, want %d", name, len(got), len(want))
		return
	}
	bad, worst, size := 0, 0, -1.0
	for i := range got {
		g, w := float64(got[i]), float64(want[i])
		if tol.Allows(g, w) {
			continue
		}
		bad++
		if d := distance(g, w); d > size {
			worst, size = i, d
		}
	}
	if bad > 0 {
		g, w := float64(got[worst]), float64(want[worst])
		tb.Errorf("%s: %d of %d values are off, the worst at index %d: %.17g, want %.17g (%s)",
			name, bad, len(got), worst, g, w, excess(g, w, tol))
	}
}

// distance is |got-want|, and infinite where either is not finite.
func distance(got, want float64) float64 {
	if d := math.Abs(got - want); !math.IsNaN(d) {
		return d
	}
	return math.Inf(1)
}

// excess puts the distance beside what was allowed.
func excess(got, want float64, tol Tolerance) string {
	d := math.Abs(got - want)
	return fmt.Sprintf("off by %.3g, %.3g relative; allowed %.3g absolute or %.3g relative",
		d, d/math.Abs(want), tol.Abs, tol.Rel)
}
