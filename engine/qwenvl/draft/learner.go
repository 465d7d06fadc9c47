package draft

import (
	"slices"
	"sync"

	"github.com/denseflow/densereward/engine/tokenizer"
)

// What a Learner keeps at most: a Machine's tables are then 4 MiB.
const (
	maxAnswers = 64   // of different wordings
	maxTokens  = 1024 // of all texts
	maxClasses = 512
	maxHints   = 256 // tokens of all hints
)

// Learner keeps the wordings of the answers that were given last. It is safe for
// concurrent use, and its memory is bounded.
type Learner struct {
	vocabulary    int
	digits        map[int32]bool // with the point
	nought, point int32
	seeds         [][]int32
	fixed         bool

	mu      sync.Mutex
	answers [][]int32 // the newest last; no two differ in numbers alone
	machine *Machine  // of the seeds and answers; nil where it is to be made
}

// New returns a Learner for a vocabulary of the given size, which knows the texts of
// seeds from the start, the last of them best.
func New(t *tokenizer.Tokenizer, vocabulary int, seeds ...[]int32) *Learner {
	l := &Learner{vocabulary: vocabulary, digits: map[int32]bool{}, nought: None, point: None, seeds: seeds}
	for _, c := range "0123456789." {
		ids := t.Encode(string(c))
		if len(ids) != 1 {
			continue
		}
		l.digits[ids[0]] = true
		switch c {
		case '0':
			l.nought = ids[0]
		case '.':
			l.point = ids[0]
		}
	}
	return l
}

// Fix makes Learn do nothing, before l is used by others.
func (l *Learner) Fix() { l.fixed = true }

// Learn takes an answer, from the beginning of its prefix on.
func (l *Learner) Learn(answer []int32) {
	if l.fixed {
		return
	}
	answer = slices.Clone(answer[:min(len(answer), maxTokens)])
	l.mu.Lock()
	defer l.mu.Unlock()
	last := len(l.answers) - 1
	at := slices.IndexFunc(l.answers, func(known []int32) bool { return l.alike(known, answer) })
	switch {
	case at >= 0 && at == last:
		return
	case at >= 0:
		l.answers = slices.Delete(l.answers, at, at+1)
	case len(l.answers) == maxAnswers:
		l.answers = slices.Delete(l.answers, 0, 1)
	}
	l.answers = append(l.answers, answer)
	l.machine = nil
}

// alike reports whether two answers have one wording: only the digits of numbers of equal
// lengths differ.
func (l *Learner) alike(a, b []int32) bool {
	return slices.EqualFunc(a, b, func(x, y int32) bool { return x == y || l.digits[x] && l.digits[y] })
}

// Machine is what is known now. hints are texts that the answers at hand may repeat, such
// as their prompts.
func (l *Learner) Machine(hints ...[]int32) *Machine {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(hints) == 0 {
		if l.machine == nil {
			l.machine = l.build(nil)
		}
		return l.machine
	}
	return l.build(hints)
}

// build makes a machine of seeds, hints and answers.
func (l *Learner) build(hints [][]int32) *Machine {
	texts := l.texts(hints)
	m := &Machine{Classes: make([]int32, l.vocabulary)}
	m.Width = l.classify(texts, m.Classes)
	a := newAutomaton(l.nought, l.point)
	end := firstEnd
	for _, text := range texts {
		number := 0
		for _, id := range text {
			symbol := otherClass
			if id >= 0 && int(id) < l.vocabulary {
				symbol = int(m.Classes[id])
			}
			switch symbol {
			case otherClass:
				symbol, number = end, 0
				end--
			case digitClass:
				number++
				symbol = digit(number)
			default:
				number = 0
			}
			a.add(id, symbol)
		}
		a.add(None, end)
		end--
	}
	order := a.byLength()
	a.settle(order)
	m.Next = make([]int32, len(order)*m.Width)
	m.Lengths = make([]int64, len(order))
	m.Drafts = slices.Repeat([]int64{None}, len(order)*Longest)
	for _, s := range order {
		a.transitions(s, m.Width, m.Next)
		m.Lengths[s] = int64(a.follow(s, m.Drafts[s*Longest:(s+1)*Longest]))
	}
	m.along()
	return m
}

// texts are those to know, the oldest first: as many as there is room for.
func (l *Learner) texts(hints [][]int32) [][]int32 {
	room := maxTokens
	var newest [][]int32
	take := func(text []int32, most int) int {
		text = text[:min(len(text), most, room)]
		if len(text) > 0 {
			newest = append(newest, text)
		}
		room -= len(text)
		return len(text)
	}
	for _, seed := range l.seeds { // have room in any case
		room -= len(seed)
	}
	hinted := maxHints
	for _, hint := range hints {
		hinted -= take(hint, hinted)
	}
	for _, answer := range slices.Backward(l.answers) {
		take(answer, room)
	}
	slices.Reverse(newest)
	return append(slices.Clone(l.seeds), newest...)
}

// classify gives tokens their classes, those of the newest texts first, and returns how
// many classes there are.
func (l *Learner) classify(texts [][]int32, classes []int32) int {
	for id := range l.digits {
		if int(id) < len(classes) {
			classes[id] = digitClass
		}
	}
	width := textClasses
	for _, text := range slices.Backward(texts) {
		for _, id := range text {
			if id >= 0 && int(id) < len(classes) && classes[id] == otherClass && width < maxClasses {
				classes[id] = int32(width)
				width++
			}
		}
	}
	return width
}
