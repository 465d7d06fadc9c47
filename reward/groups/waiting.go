package groups

import (
	"cmp"
	"slices"
	"strings"
)

// Waiting is a group that is not complete.
type Waiting struct {
	Evaluator string
	Step      string
	Group     string // "" for all groups of a step that come together
	Have      int    // members that came
	Want      int
	Missing   []int // members that did not, of a group that numbers them; a few of many
}

// mostMissing is how many missing members Waiting names.
const mostMissing = 16

// Waiting gives up to most groups of an owner that wait for members, those that lack
// least first, and how many wait in all.
func (b *Barrier) Waiting(owner string, most int) (groups []Waiting, all int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, t := range b.groups {
		if key.owner != owner || t.full || t.ended {
			continue
		}
		w := Waiting{Evaluator: key.evaluator, Step: key.step, Group: key.group, Have: len(t.members), Want: t.size * t.count}
		if t.named && !t.whole {
			for n := 0; n < t.size && len(w.Missing) < mostMissing; n++ {
				if t.members[place{key.group, n}] == nil {
					w.Missing = append(w.Missing, n)
				}
			}
		}
		groups = append(groups, w)
	}
	slices.SortFunc(groups, func(x, y Waiting) int {
		return cmp.Or(cmp.Compare(x.Want-x.Have, y.Want-y.Have), strings.Compare(x.Step, y.Step), strings.Compare(x.Group, y.Group))
	})
	return groups[:min(most, len(groups))], len(groups)
}

// WaitingNow is how many groups of all owners wait, and for how many members that came.
func (b *Barrier) WaitingNow() (groups, members int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range b.groups {
		if !t.full && !t.ended {
			groups++
			members += len(t.members)
		}
	}
	return groups, members
}
