package draft

import (
	"cmp"
	"slices"
)

// Symbols of a text: classes from textClasses on, the places of digits in a number, and
// below them the ends of texts, each of which is another.
const (
	longestNumber = 4                  // digits behind the fourth are as the fourth
	firstEnd      = -longestNumber - 1 // and down
)

// digit is the symbol of a number's digit at place n, from 1 on.
func digit(n int) int { return -min(n, longestNumber) }

// automaton is the suffix automaton of texts one behind the other [Blumer et al. 1985]:
// a state is a set of texts that end in the same places.
type automaton struct {
	tokens  []int32 // of all texts, with None between them
	symbols []int   // of each token
	states  []state
	last    int

	nought, point int32 // tokens
}

type state struct {
	length int // of its longest text
	link   int // the state of the longest shorter text that ends elsewhere too
	end    int // where it ended last, in tokens
	next   map[int]int
}

func newAutomaton(nought, point int32) *automaton {
	return &automaton{states: []state{{link: -1, end: -1, next: map[int]int{}}}, nought: nought, point: point}
}

func (a *automaton) add(token int32, symbol int) {
	a.tokens, a.symbols = append(a.tokens, token), append(a.symbols, symbol)
	fresh := len(a.states)
	a.states = append(a.states, state{length: a.states[a.last].length + 1, end: len(a.tokens) - 1, next: map[int]int{}})
	p := a.last
	for ; p >= 0; p = a.states[p].link {
		if _, ok := a.states[p].next[symbol]; ok {
			break
		}
		a.states[p].next[symbol] = fresh
	}
	a.last = fresh
	if p < 0 {
		return // the link is the root
	}
	q := a.states[p].next[symbol]
	if a.states[q].length == a.states[p].length+1 {
		a.states[fresh].link = q
		return
	}
	clone := len(a.states)
	copied := a.states[q]
	copied.length, copied.next = a.states[p].length+1, make(map[int]int, len(copied.next))
	for symbol, to := range a.states[q].next {
		copied.next[symbol] = to
	}
	a.states = append(a.states, copied)
	a.states[q].link, a.states[fresh].link = clone, clone
	for ; p >= 0 && a.states[p].next[symbol] == q; p = a.states[p].link {
		a.states[p].next[symbol] = clone
	}
}

// byLength is the states, those with short texts first, so that a link comes before what
// links to it.
func (a *automaton) byLength() []int {
	order := make([]int, len(a.states))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(a.states[i].length, a.states[j].length) })
	return order
}

// settle finds where each state's texts ended last.
func (a *automaton) settle(order []int) {
	for _, s := range slices.Backward(order[1:]) {
		link := &a.states[a.states[s].link]
		link.end = max(link.end, a.states[s].end)
	}
	a.states[Root].end = -1
}

// digits is the place in a number that a state's texts end at, 0 outside of numbers.
func (a *automaton) digits(s int) int {
	if s == Root {
		return 0
	}
	symbol := a.symbols[a.states[s].end]
	if symbol < 0 && symbol > firstEnd {
		return -symbol
	}
	return 0
}

// transitions fills in the row of a state, of which links' rows are there: where a token
// of each class leads, also where no text goes on with it.
func (a *automaton) transitions(s, width int, next []int32) {
	row := next[s*width : (s+1)*width]
	if s != Root {
		link := a.states[s].link
		copy(row, next[link*width:(link+1)*width])
	}
	n := a.digits(s)
	if n > 0 {
		row[digitClass] = int32(s) // a number that is longer than those that are known
	}
	// A number that is shorter than those goes on as they do behind their ends.
	var behind []int
	for at, m := s, n; m > 0 && m < longestNumber; m++ {
		to, ok := a.states[at].next[digit(m+1)]
		if !ok {
			break
		}
		at = to
		behind = append(behind, at)
	}
	for _, at := range slices.Backward(behind) {
		a.own(at, row)
	}
	a.own(s, row)
	if to, ok := a.states[s].next[digit(n+1)]; ok {
		row[digitClass] = int32(to)
	}
}

// own fills in where a state's texts go on with a token of text.
func (a *automaton) own(s int, row []int32) {
	for symbol, to := range a.states[s].next {
		if symbol >= textClasses {
			row[symbol] = int32(to)
		}
	}
}

// leastTelling is the shortest text behind which a draft goes past a fork.
const leastTelling = 3

// follow appends to row what followed a state's texts last, as far as that is likely.
func (a *automaton) follow(s int, row []int64) int {
	if s == Root {
		return 0
	}
	n, at := 0, s
	for p := a.states[s].end + 1; n < len(row) && p < len(a.tokens) && a.symbols[p] > firstEnd; p++ {
		if a.forks(at) && a.states[a.states[at].link].length+1 < leastTelling || !a.foreseen(p) {
			break
		}
		to, ok := a.states[at].next[a.symbols[p]]
		if !ok {
			break
		}
		row[n] = int64(a.tokens[p])
		at, n = to, n+1
	}
	return n
}

// forks reports whether a state's texts go on in several ways.
func (a *automaton) forks(s int) bool {
	ways := 0
	for symbol := range a.states[s].next {
		if symbol > firstEnd {
			ways++
		}
	}
	return ways > 1
}

// foreseen reports whether the token at p is no digit, or one that is likely: the nought
// and the point that begin a fraction, or a point by itself.
func (a *automaton) foreseen(p int) bool {
	is := func(at int, token int32, symbol int) bool {
		return at >= 0 && at < len(a.tokens) && a.tokens[at] == token && a.symbols[at] == symbol
	}
	switch a.symbols[p] {
	case digit(1):
		inNumber := p+1 < len(a.tokens) && a.symbols[p+1] == digit(2)
		return inNumber && is(p, a.nought, digit(1)) && is(p+1, a.point, digit(2)) || !inNumber && is(p, a.point, digit(1))
	case digit(2):
		return is(p-1, a.nought, digit(1)) && is(p, a.point, digit(2))
	}
	return a.symbols[p] >= textClasses
}
