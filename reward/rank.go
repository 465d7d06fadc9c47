package reward

import (
	"cmp"
	"math"
	"slices"
)

// Ranks is the place of each sample within its group by its reward, from 1 for
// the best. Equal rewards share the better place and the next one is skipped (1,
// 2, 2, 4). A sample that failed, whose reward is NaN, has place 0 and takes
// nobody's. groups names the group of each sample.
func Ranks(rewards []float64, groups []string) []int {
	members := map[string][]int{}
	for i, group := range groups {
		if !math.IsNaN(rewards[i]) {
			members[group] = append(members[group], i)
		}
	}
	ranks := make([]int, len(rewards))
	for _, group := range members {
		slices.SortFunc(group, func(a, b int) int { return cmp.Compare(rewards[b], rewards[a]) })
		for place, i := range group {
			ranks[i] = place + 1
			if place > 0 && rewards[i] == rewards[group[place-1]] {
				ranks[i] = ranks[group[place-1]]
			}
		}
	}
	return ranks
}

// Best lists the samples of each group from the best to the worst, at most k of
// them, those that failed left out. Of equal rewards the earlier sample is the
// better. Groups come in the order in which they first appear; one whose samples
// all failed is empty.
func Best(rewards []float64, groups []string, k int) [][]int {
	place := map[string]int{}
	var best [][]int
	for i, group := range groups {
		at, known := place[group]
		if !known {
			at = len(best)
			place[group] = at
			best = append(best, nil)
		}
		if !math.IsNaN(rewards[i]) {
			best[at] = append(best[at], i)
		}
	}
	for at, members := range best {
		slices.SortStableFunc(members, func(a, b int) int { return cmp.Compare(rewards[b], rewards[a]) })
		best[at] = members[:min(k, len(members))]
	}
	return best
}
