package server

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/denseflow/densereward/reward"
)

// anySeat is the wish of a sample whose request numbers no members.
const anySeat = -1

// seat is a place in a group.
type seat struct {
	group  string
	number int
}

// party is the samples of one request that belong to one gathering.
type party struct {
	rule    rule
	size    int  // members of each group
	count   int  // groups
	whole   bool // the groups of a step are gathered together
	samples []int
	seats   []seat // of each sample; numbered when it joins
	members []*member
	at      *gathering // once joined
}

func (p *party) add(sample int, s seat, m *member) {
	p.samples = append(p.samples, sample)
	p.seats = append(p.seats, s)
	p.members = append(p.members, m)
}

// gathering is a group, or a whole step, whose members come with several
// requests. Its fields are guarded by the gatherer; err and shares are read
// freely once done is closed.
type gathering struct {
	rule  rule
	size  int
	count int
	whole bool
	seats map[seat]*seated
	sizes map[string]int // seats taken in each group
	named bool           // its members are numbered by their requests
	bytes int64
	timer stopper

	ended  bool
	done   chan struct{}
	err    error
	shares map[seat]share
}

// stopper is a timer.
type stopper interface{ Stop() bool }

// seated is a member in its place and how many requests brought it.
type seated struct {
	member
	holders int
}

func newGathering(p *party) *gathering {
	return &gathering{
		rule: p.rule, size: p.size, count: p.count, whole: p.whole,
		seats: map[seat]*seated{},
		sizes: map[string]int{},
		named: p.seats[0].number != anySeat,
		done:  make(chan struct{}),
	}
}

// seat gives each of the party's samples its place. After an error some may
// have theirs: the party must leave.
func (t *gathering) seat(p *party) error {
	switch {
	case t.rule != p.rule || t.whole != p.whole:
		return reward.ErrGroupConflict.With("advantage: the group's requests differ in method, options or grid")
	case t.size != p.size || t.count != p.count:
		return reward.ErrGroupConflict.With("groups: size %d and count %d, the group's first request had %d and %d", p.size, p.count, t.size, t.count)
	case t.named != (p.seats[0].number != anySeat):
		return reward.ErrGroupConflict.With("groups.members: given by some of the group's requests and not by others")
	}
	p.at = t
	for k := range p.seats {
		if err := t.seatOne(p, k); err != nil {
			p.seats = p.seats[:k]
			return err
		}
	}
	return nil
}

func (t *gathering) seatOne(p *party, k int) error {
	s, m := &p.seats[k], p.members[k]
	if s.number == anySeat {
		s.number = t.free(s.group)
		if s.number == t.size {
			return reward.ErrGroupConflict.With("groups: group %.80q has its %d members already", s.group, t.size)
		}
	}
	if taken := t.seats[*s]; taken != nil {
		if taken.failed != m.failed || (!m.failed && taken.reward != m.reward) {
			return reward.ErrGroupConflict.With("groups.members: member %d of group %.80q came before with another reward", s.number, s.group)
		}
		taken.holders++
		return nil
	}
	if t.sizes[s.group] == 0 && len(t.sizes) == t.count {
		return reward.ErrGroupConflict.With("groups: group %.80q is one more than the step's %d", s.group, t.count)
	}
	t.seats[*s] = &seated{member: *m, holders: 1}
	t.sizes[s.group]++
	t.bytes += t.bytesOf(m)
	return nil
}

// free is the lowest number that nobody has in a group.
func (t *gathering) free(group string) int {
	for n := range t.size {
		if t.seats[seat{group, n}] == nil {
			return n
		}
	}
	return t.size
}

// bytesOf is what a member holds, with its share: three maps at most.
func (t *gathering) bytesOf(m *member) int64 {
	return 256 + int64(len(m.group)) + 3*4*int64(t.rule.grid.Cells()) + 64*int64(len(m.boxes))
}

// unseat takes back the places of a party that leaves before the end.
func (t *gathering) unseat(p *party) {
	for _, s := range p.seats {
		held := t.seats[s]
		held.holders--
		if held.holders > 0 {
			continue
		}
		t.bytes -= t.bytesOf(&held.member)
		delete(t.seats, s)
		t.sizes[s.group]--
		if t.sizes[s.group] == 0 {
			delete(t.sizes, s.group)
		}
	}
}

func (t *gathering) full() bool { return len(t.seats) == t.size*t.count }

// conclude computes the shares of a full gathering. Members are taken in the
// order of their groups' names and their numbers, so that sums do not depend
// on who came first.
func (t *gathering) conclude() {
	order := make([]seat, 0, len(t.seats))
	for s := range t.seats {
		order = append(order, s)
	}
	slices.SortFunc(order, func(a, b seat) int {
		if a.group != b.group {
			return strings.Compare(a.group, b.group)
		}
		return a.number - b.number
	})
	members := make([]member, len(order))
	for i, s := range order {
		members[i] = t.seats[s].member
	}
	shares, err := t.rule.shares(members)
	if err != nil {
		t.fail(err)
		return
	}
	t.shares = make(map[seat]share, len(order))
	for i, s := range order {
		t.shares[s] = shares[i]
		t.seats[s].weight, t.seats[s].boxes = nil, nil // used up
	}
	t.ended = true
	close(t.done)
}

func (t *gathering) fail(err error) {
	t.err, t.ended = err, true
	close(t.done)
}

// maxMissing bounds the members that a message lists.
const maxMissing = 32

// incomplete is the error that says who did not come.
func (t *gathering) incomplete() error {
	groups := make([]string, 0, len(t.sizes))
	for name := range t.sizes {
		groups = append(groups, name)
	}
	slices.Sort(groups)
	var b strings.Builder
	fmt.Fprintf(&b, "groups: %d of %d members came", len(t.seats), t.size*t.count)
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
func (t *gathering) missing(group string, lacks int, list *int) string {
	if !t.named {
		*list--
		return strconv.Itoa(lacks) + " members"
	}
	var numbers []string
	for n := range t.size {
		if *list == 0 {
			break
		}
		if t.seats[seat{group, n}] == nil {
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
