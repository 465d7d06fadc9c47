package groups

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/advantages"
)

// group is one group, or a whole step, whose members come with several
// requests. Its fields are guarded by the Barrier; err and shares are read
// freely once done is closed.
type group struct {
	rule    advantages.Rule
	size    int
	count   int
	whole   bool
	members map[place]*placed
	sizes   map[string]int // places taken in each group
	named   bool           // its members are numbered by their requests
	bytes   int64
	timer   stopper

	full   bool // all members came: its shares are being computed, or it has ended
	ended  bool
	done   chan struct{}
	err    error
	shares map[place]advantages.Share
}

// stopper is a timer.
type stopper interface{ Stop() bool }

// placed is a member in its place and how many requests brought it.
type placed struct {
	advantages.Member
	holders int
}

func newGroup(p *participant) *group {
	return &group{
		rule: p.rule, size: p.size, count: p.count, whole: p.whole,
		members: map[place]*placed{},
		sizes:   map[string]int{},
		named:   p.places[0].number != anyNumber,
		done:    make(chan struct{}),
	}
}

// place gives each of the participant's samples its place. After an error some
// may have theirs: the participant must leave.
func (t *group) place(p *participant) error {
	switch {
	case t.rule != p.rule || t.whole != p.whole:
		return reward.ErrGroupConflict.With("advantage: the group's requests differ in method, options or grid")
	case t.size != p.size || t.count != p.count:
		return reward.ErrGroupConflict.With("groups: size %d and count %d, the group's first request had %d and %d", p.size, p.count, t.size, t.count)
	case t.named != (p.places[0].number != anyNumber):
		return reward.ErrGroupConflict.With("groups.members: given by some of the group's requests and not by others")
	}
	p.group = t
	for k := range p.places {
		if err := t.placeOne(p, k); err != nil {
			p.places = p.places[:k]
			return err
		}
	}
	return nil
}

func (t *group) placeOne(p *participant, k int) error {
	s, m := &p.places[k], p.members[k]
	if s.number == anyNumber {
		s.number = t.free(s.group)
		if s.number == t.size {
			return reward.ErrGroupConflict.With("groups: group %.80q has its %d members already", s.group, t.size)
		}
	}
	if taken := t.members[*s]; taken != nil {
		return t.again(s, taken, m)
	}
	if t.sizes[s.group] == 0 && len(t.sizes) == t.count {
		return reward.ErrGroupConflict.With("groups: group %.80q is one more than the step's %d", s.group, t.count)
	}
	t.members[*s] = &placed{Member: *m, holders: 1}
	t.sizes[s.group]++
	t.bytes += t.bytesOf(m)
	return nil
}

// again takes a member that comes once more. What its first try brought counts, unless
// that failed and the group still waits.
func (t *group) again(s *place, taken *placed, m *advantages.Member) error {
	switch {
	case taken.Input != m.Input:
		return reward.ErrGroupConflict.With("groups.members: member %d of group %.80q came before as another sample", s.number, s.group)
	case taken.Failed && !m.Failed && t.full:
		return reward.ErrGroupConflict.With("groups.members: member %d of group %.80q could not be scored when the group was complete", s.number, s.group)
	case taken.Failed && !m.Failed:
		t.bytes += t.bytesOf(m) - t.bytesOf(&taken.Member)
		taken.Member = *m
	}
	taken.holders++
	return nil
}

// free is the lowest number that nobody has in a group.
func (t *group) free(group string) int {
	for n := range t.size {
		if t.members[place{group, n}] == nil {
			return n
		}
	}
	return t.size
}

// bytesOf is what a member holds, with its share: three maps at most.
func (t *group) bytesOf(m *advantages.Member) int64 {
	return 256 + int64(len(m.Group)) + 3*4*int64(t.rule.Grid.Cells()) + 64*int64(len(m.Boxes)) + 8*int64(len(m.Scores))
}

// unplace takes back the places of a participant that leaves before the end.
func (t *group) unplace(p *participant) {
	for _, s := range p.places {
		held := t.members[s]
		held.holders--
		if held.holders > 0 {
			continue
		}
		t.bytes -= t.bytesOf(&held.Member)
		delete(t.members, s)
		t.sizes[s.group]--
		if t.sizes[s.group] == 0 {
			delete(t.sizes, s.group)
		}
	}
}

func (t *group) isFull() bool { return len(t.members) == t.size*t.count }

// ordered gives the members in the order of their groups' names and their numbers, so
// that sums do not depend on who came first.
func (t *group) ordered() ([]place, []advantages.Member) {
	order := make([]place, 0, len(t.members))
	for s := range t.members {
		order = append(order, s)
	}
	slices.SortFunc(order, func(a, b place) int {
		if a.group != b.group {
			return strings.Compare(a.group, b.group)
		}
		return a.number - b.number
	})
	members := make([]advantages.Member, len(order))
	for i, s := range order {
		members[i] = t.members[s].Member
	}
	return order, members
}

// conclude ends a full group with the shares of its members in order, or an error.
func (t *group) conclude(order []place, shares []advantages.Share, err error) {
	if err != nil {
		t.fail(err)
		return
	}
	t.shares = make(map[place]advantages.Share, len(order))
	for i, s := range order {
		t.shares[s] = shares[i]
	}
	t.ended = true
	close(t.done)
}

func (t *group) fail(err error) {
	t.err, t.ended = err, true
	close(t.done)
}

// maxMissing bounds the members that a message lists.
const maxMissing = 32

// incomplete is the error that says who did not come.
func (t *group) incomplete() error {
	groups := make([]string, 0, len(t.sizes))
	for name := range t.sizes {
		groups = append(groups, name)
	}
	slices.Sort(groups)
	var b strings.Builder
	fmt.Fprintf(&b, "groups: %d of %d members came", len(t.members), t.size*t.count)
	if n := t.count - len(groups); n > 0 {
		fmt.Fprintf(&b, "; %d of %d groups are missing altogether", n, t.count)
	}
	list := maxMissing
	for _, name := range groups {
		if left := t.size - t.sizes[name]; left > 0 && list > 0 {
			fmt.Fprintf(&b, "; group %.80q misses %s", name, t.missing(name, left, &list))
		}
	}
	return reward.ErrGroupIncomplete.With("%s", b.String())
}

// missing lists the numbers of the members that a group lacks, as far as the
// list may still grow. Where requests do not number their members it counts
// them.
func (t *group) missing(group string, lacks int, list *int) string {
	if !t.named {
		*list--
		return strconv.Itoa(lacks) + " members"
	}
	var numbers []string
	for n := range t.size {
		if *list == 0 {
			break
		}
		if t.members[place{group, n}] == nil {
			numbers = append(numbers, strconv.Itoa(n))
			*list--
		}
	}
	text := "members " + strings.Join(numbers, ", ")
	if more := lacks - len(numbers); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
