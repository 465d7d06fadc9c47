package qwenvl

import (
	"maps"
	"slices"
	"strings"

	"github.com/denseflow/densereward/engine/tokenizer"
)

// Draft drafts how an answer goes on, from its template. It is a machine over
// tokens whose state is the place in the template; the model's own token moves it
// on. Draft tokens are checked by the model and cost nothing but time when
// rejected, so they need not be right for every answer.
type Draft struct {
	classes []int32 // of each token: 0 for those that the template lacks
	next    []int64 // state after a token: next[state*width+class]
	width   int     // number of classes
	drafts  []int64 // (states,longest): what follows in each state
	lengths []int64 // how much of each row of drafts is meant
	longest int
}

// AnswerTemplate is the fixed text of the answers that a judge expects.
type AnswerTemplate struct {
	Prefix string // encoded by itself, as it is where it is given
	Text   string // what follows
	// Number stands for a number wherever it occurs in Text: a digit and a point,
	// which nearly always are these, then digits that nobody can foresee.
	Number string
}

// place is one token of the template.
type place struct {
	id    int32
	digit int // 0 outside a number, else 1 for its first token, 2 for the next
}

// firstUnknown is the first place of a number that cannot be foreseen.
const firstUnknown = 3

// noDraft fills up rows of drafts. No prediction equals it, or a row that knows
// less than its neighbours could move on to states that are not there; as an
// index it names the last token.
const noDraft = -1

// Classes of tokens that the template does not spell.
const (
	otherClass  = iota // no token of the template
	digitClass         // a digit or the point
	textClasses        // the first of the classes of one token each
)

// NewDraft makes the machine of a template for a tokenizer and a vocabulary of the
// given size. Its last state is the one of having lost the place.
func NewDraft(t *tokenizer.Tokenizer, vocabulary int, text AnswerTemplate) *Draft {
	form := newTemplate(t, text)
	d := &Draft{classes: make([]int32, vocabulary), width: textClasses}
	for _, c := range "0123456789." {
		if ids := t.Encode(string(c)); len(ids) == 1 && int(ids[0]) < vocabulary {
			d.classes[ids[0]] = digitClass
		}
	}
	for _, p := range form.places {
		if p.digit == 0 && int(p.id) < vocabulary && d.classes[p.id] == otherClass {
			d.classes[p.id] = int32(d.width)
			d.width++
		}
	}
	states := len(form.places) + 1
	d.next = slices.Repeat([]int64{int64(form.lost())}, states*d.width)
	for id, class := range d.classes {
		if class == otherClass {
			continue
		}
		for s := range states {
			d.next[s*d.width+int(class)] = int64(form.follow(s, int32(id), class == digitClass))
		}
	}
	d.fill(form)
	return d
}

// template is an AnswerTemplate token by token.
type template struct {
	places []place
	once   map[int32]int // where the tokens stand that it has once, outside numbers
}

func newTemplate(t *tokenizer.Tokenizer, text AnswerTemplate) template {
	w := template{places: text.places(t), once: map[int32]int{}}
	count := map[int32]int{}
	for i, p := range w.places {
		if p.digit == 0 {
			count[p.id]++
			w.once[p.id] = i
		}
	}
	maps.DeleteFunc(w.once, func(id int32, _ int) bool { return count[id] > 1 })
	return w
}

// lost is the state of not knowing the place.
func (w template) lost() int { return len(w.places) }

// places are the tokens of the template.
func (a AnswerTemplate) places(t *tokenizer.Tokenizer) []place {
	var all []place
	for _, id := range t.Encode(a.Prefix) {
		all = append(all, place{id: id})
	}
	// from is where the number at hand, or the next one, begins.
	next := func(behind int) int {
		if i := strings.Index(a.Text[behind:], a.Number); a.Number != "" && i >= 0 {
			return behind + i
		}
		return len(a.Text)
	}
	at, from, digit := 0, next(0), 0
	for _, id := range t.Encode(a.Text) {
		if at >= from+len(a.Number) {
			digit, from = 0, next(at)
		}
		p := place{id: id}
		at += len(t.Decode([]int32{id}, false))
		if at > from {
			digit++
			p.digit = digit
		}
		all = append(all, p)
	}
	return all
}

// follow is the state after token id in state s; digit tells that it is a digit or
// the point.
func (w template) follow(s int, id int32, digit bool) int {
	if s < w.lost() {
		p := w.places[s]
		if p.digit > 0 && digit || p.digit == 0 && p.id == id {
			return s + 1
		}
		end := s // behind the number that the state is in
		for end < w.lost() && w.places[end].digit > 0 {
			end++
		}
		switch {
		case p.digit > 1 && end < w.lost() && w.places[end].id == id: // a short number
			return end + 1
		case p.digit == 0 && digit && s > 0 && w.places[s-1].digit > 0: // a long one
			return s
		}
	}
	if i, ok := w.once[id]; ok {
		return i + 1
	}
	return w.lost()
}

// fill fills in what follows in each state, up to what cannot be known.
func (d *Draft) fill(form template) {
	known := func(i int) bool { return i < form.lost() && form.places[i].digit < firstUnknown }
	states := form.lost() + 1
	d.lengths = make([]int64, states)
	for s := range states {
		n := 0
		for known(s + n) {
			n++
		}
		d.lengths[s] = int64(n)
		d.longest = max(d.longest, n)
	}
	d.drafts = slices.Repeat([]int64{noDraft}, states*d.longest)
	for s := range states {
		for i := range int(d.lengths[s]) {
			d.drafts[s*d.longest+i] = int64(form.places[s+i].id)
		}
	}
}

// States is the number of states.
func (d *Draft) States() int64 { return int64(len(d.lengths)) }

// Start is the state before an answer whose prefix is ids.
func (d *Draft) Start(ids []int32) int64 {
	state := int64(0)
	for _, id := range ids {
		state = d.After(state, id)
	}
	return state
}

// After is the state behind token id in a state.
func (d *Draft) After(state int64, id int32) int64 {
	return d.next[int(state)*d.width+int(d.classes[id])]
}

// Accepted is how many draft tokens of a state are the tokens that follow.
func (d *Draft) Accepted(state int64, follow []int32) int {
	n := 0
	for n < int(d.lengths[state]) && n < len(follow) && d.drafts[int(state)*d.longest+n] == int64(follow[n]) {
		n++
	}
	return n
}
