package flowgrpo

import (
	"fmt"
	"math"
)

// Float is the element type of tensors and maps.
type Float interface{ float32 | float64 }

// Groups lists, for each prompt, the samples that were generated from it; the
// order of samples within a group is kept. A sample may be in no group: it takes
// no part in any statistic and its place in a destination is left alone.
type Groups [][]int

// GroupBy puts samples with equal names, usually their prompts, into one group.
// Groups come in the order in which their names first appear.
func GroupBy[K comparable](names []K) Groups {
	position := make(map[K]int)
	var groups Groups
	for sample, name := range names {
		at, known := position[name]
		if !known {
			at = len(groups)
			position[name] = at
			groups = append(groups, nil)
		}
		groups[at] = append(groups[at], sample)
	}
	return groups
}

// Keep returns the groups with only the samples that keep accepts. A group that
// loses all its samples is gone. It is how samples that could not be scored are
// left out.
func (g Groups) Keep(keep func(sample int) bool) Groups {
	var kept Groups
	for _, members := range g {
		var some []int
		for _, sample := range members {
			if keep(sample) {
				some = append(some, sample)
			}
		}
		if some != nil {
			kept = append(kept, some)
		}
	}
	return kept
}

// Gather returns the values of a group's samples, in order.
func Gather(values []float64, members []int) []float64 {
	some := make([]float64, len(members))
	for i, sample := range members {
		some[i] = values[sample]
	}
	return some
}

// check fails for a group without samples and panics for a sample outside n.
func (g Groups) check(n int) error {
	for i, members := range g {
		if len(members) == 0 {
			return fmt.Errorf("flowgrpo: group %d is empty", i)
		}
		for _, sample := range members {
			if sample < 0 || sample >= n {
				panic(fmt.Sprintf("flowgrpo: group %d names sample %d of %d", i, sample, n))
			}
		}
	}
	return nil
}

// size is the number of samples in all groups together.
func (g Groups) size() int {
	var n int
	for _, members := range g {
		n += len(members)
	}
	return n
}

// allFinite reports whether no value is NaN or infinite.
func allFinite[T Float](values []T) bool {
	for _, v := range values {
		if v-v != 0 {
			return false
		}
	}
	return true
}

// maxFloat is the largest finite value of T.
func maxFloat[T Float]() float64 {
	if _, single := any(T(0)).(float32); single {
		return math.MaxFloat32
	}
	return math.MaxFloat64
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
