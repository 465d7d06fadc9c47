package reward

import (
	"fmt"
	"math"
	"testing"
)

func TestRanksShareThePlacesOfTies(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		rewards []float64
		groups  []string
		ranks   []int
		best    [][]int // the best two
	}{
		{[]float64{1, 3, 2}, []string{"a", "a", "a"}, []int{3, 1, 2}, [][]int{{1, 2}}},
		{[]float64{2, 3, 2, 1}, []string{"a", "a", "a", "a"}, []int{2, 1, 2, 4}, [][]int{{1, 0}}},
		{[]float64{1, 5, 2, 4}, []string{"b", "a", "b", "a"}, []int{2, 1, 1, 2}, [][]int{{2, 0}, {1, 3}}},
		{[]float64{nan, 1, nan}, []string{"a", "a", "b"}, []int{0, 1, 0}, [][]int{{1}, {}}},
		{[]float64{math.Inf(-1), 0, math.Inf(1)}, []string{"a", "a", "a"}, []int{3, 2, 1}, [][]int{{2, 1}}},
		{nil, nil, []int{}, [][]int{}},
	} {
		if got := Ranks(c.rewards, c.groups); fmt.Sprint(got) != fmt.Sprint(c.ranks) {
			t.Errorf("ranks of %v in %q are %v, want %v", c.rewards, c.groups, got, c.ranks)
		}
		if got := Best(c.rewards, c.groups, 2); fmt.Sprint(got) != fmt.Sprint(c.best) {
			t.Errorf("the best of %v in %q are %v, want %v", c.rewards, c.groups, got, c.best)
		}
	}
}
