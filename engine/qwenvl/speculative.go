package qwenvl

import (
	"maps"
	"slices"
	"strings"

	"github.com/denseflow/densereward/engine/tokenizer"
)

// Draft drafts how an answer goes on, from its templates. It is a machine over
// tokens whose state is the place in a template; the model's own token moves it
// on, and to another template where the answer has that one's wording. Draft tokens are checked by the model and cost nothing but time when
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

// unspelt stands between two templates, where no token leads on.
var unspelt = place{id: noDraft}

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

// NewDraft makes the machine of templates for a tokenizer and a vocabulary of the
// given size. The first is the one that answers begin in. Its last state is the one
// of having lost the place.
func NewDraft(t *tokenizer.Tokenizer, vocabulary int, texts ...AnswerTemplate) *Draft {
	form := newTemplates(t, texts)
	d := &Draft{classes: make([]int32, vocabulary), width: textClasses}
	for _, c := range "0123456789." {
		if ids := t.Encode(string(c)); len(ids) == 1 && int(ids[0]) < vocabulary {
			d.classes[ids[0]] = digitClass
		}
	}
	for _, p := range form.places {
		if p.digit == 0 && p != unspelt && int(p.id) < vocabulary && d.classes[p.id] == otherClass {
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

// templates are AnswerTemplates token by token, behind each other.
type templates struct {
	places []place
	starts []int           // of each template among the places
	once   []map[int32]int // of each: where the tokens stand that it has once, outside numbers
}

func newTemplates(t *tokenizer.Tokenizer, texts []AnswerTemplate) templates {
	var w templates
	for i, text := range texts {
		if i > 0 {
			w.places = append(w.places, unspelt)
		}
		start := len(w.places)
		w.starts = append(w.starts, start)
		w.places = append(w.places, text.places(t)...)
		once, count := map[int32]int{}, map[int32]int{}
		for j, p := range w.places[start:] {
			if p.digit == 0 {
				count[p.id]++
				once[p.id] = start + j
			}
		}
		maps.DeleteFunc(once, func(id int32, _ int) bool { return count[id] > 1 })
		w.once = append(w.once, once)
	}
	return w
}

// lost is the state of not knowing the place.
func (w templates) lost() int { return len(w.places) }

// of is which template a state belongs to; the first where the place is lost.
func (w templates) of(s int) int {
	if s >= w.lost() {
		return 0
	}
	i, found := slices.BinarySearch(w.starts, s)
	if found {
		return i
	}
	return i - 1
}

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
func (w templates) follow(s int, id int32, digit bool) int {
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
	if i, ok := w.otherwise(s, id); ok {
		return i + 1
	}
	if i, ok := w.once[w.of(s)][id]; ok {
		return i + 1
	}
	return w.lost()
}

// leastShared is how many tokens two templates must have in common before the place
// at which an answer leaves one for the other: a line's last word and its number, or
// any line break would do.
const leastShared = 6

// otherwise is where another template has token id behind the longest text that is
// before state s as well.
func (w templates) otherwise(s int, id int32) (at int, ok bool) {
	if s < w.lost() && w.places[s].digit > 1 { // a short number
		for s < w.lost() && w.places[s].digit > 0 {
			s++
		}
	}
	most := leastShared - 1
	for t, p := range w.places {
		if p.digit > 0 || p.id != id || s >= w.lost() || w.of(t) == w.of(s) {
			continue
		}
		if n := w.shared(s, t); n > most {
			at, most, ok = t, n, true
		}
	}
	return at, ok
}

// shared is how many tokens before two states are the same, whatever numbers say.
func (w templates) shared(a, b int) int {
	n := 0
	for a-n > w.starts[w.of(a)] && b-n > w.starts[w.of(b)] {
		p, q := w.places[a-n-1], w.places[b-n-1]
		if p.digit != q.digit || p.digit == 0 && p.id != q.id {
			break
		}
		n++
	}
	return n
}

// fill fills in what follows in each state, up to what cannot be known.
func (d *Draft) fill(form templates) {
	known := func(i int) bool {
		return i < form.lost() && form.places[i].digit < firstUnknown && form.places[i] != unspelt
	}
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
