package groups

import (
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/advantages"
)

// anyNumber is the wish of a sample whose request numbers no members.
const anyNumber = -1

// place is where a member stands: its group and its number there.
type place struct {
	group  string
	number int
}

// participant is the samples of one request that belong to one group, or to the
// one step that is completed as a whole.
type participant struct {
	rule    advantages.Rule
	size    int  // members of each group
	count   int  // groups
	whole   bool // the groups of a step come together
	samples []int
	places  []place // of each sample; numbered when it joins
	members []*advantages.Member
	group   *group // once joined
}

// newParticipants deals the members of a request out to their groups.
func newParticipants(owner string, groups *reward.Groups, rule advantages.Rule, members []advantages.Member) map[groupKey]*participant {
	participants := map[groupKey]*participant{}
	for i := range members {
		key := groupKey{owner, rule.Evaluator, groups.Step, members[i].Group}
		if rule.AllGroups() {
			key.group = ""
		}
		p := participants[key]
		if p == nil {
			p = &participant{rule: rule, size: groups.Size, count: max(groups.Count, 1), whole: rule.AllGroups()}
			participants[key] = p
		}
		number := anyNumber
		if groups.Members != nil {
			number = groups.Members[i]
		}
		p.samples = append(p.samples, i)
		p.places = append(p.places, place{members[i].Group, number})
		p.members = append(p.members, &members[i])
	}
	return participants
}
