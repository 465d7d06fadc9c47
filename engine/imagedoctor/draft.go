package imagedoctor

import (
	"maps"
	"slices"
	"strings"

	"github.com/denseflow/densereward/engine/tokenizer"
)

// draft guesses how an answer goes on, from its fixed wording. It is a machine
// over tokens whose state is the place in the wording; the model's own token
// moves it on. What it guesses is checked by the model and costs nothing but
// time when wrong, so it need not be right for every answer.
type draft struct {
	classes []int32 // of each token: 0 for those that the wording lacks
	next    []int64 // state after a token: next[state*width+class]
	width   int     // number of classes
	guesses []int64 // (states,longest): what follows in each state
	lengths []int64 // how much of each row of guesses is meant
	longest int
}

// number stands for a score in answerForm: a digit and a point that are nearly
// always a nought and a point, then digits that nobody can guess.
const number = "0.50"

// answerForm is the published form of an answer, behind answerPrefix.
const answerForm = "Semantic Alignment score: " + number +
	"\nMisalignment Locations: " + misalignmentToken +
	"\nAesthetic score: " + number +
	"\nPlausibility score: " + number +
	"\nArtifact Locations: " + artifactToken +
	"\nOverall Impression score: " + number + "</answer>" + turnEnd

// place is one token of the wording.
type place struct {
	id    int32
	digit int // 0 outside a number, else 1 for its first token, 2 for the next
}

// firstUnknown is the first place of a number that cannot be guessed.
const firstUnknown = 3

// noGuess fills up rows of guesses. No prediction equals it, or a row that knows
// less than its neighbours could move on to states that are not there; as an
// index it names the last token.
const noGuess = -1

// Classes of tokens that the wording does not spell.
const (
	otherClass  = iota // no token of the wording
	digitClass         // a digit or the point
	wordClasses        // the first of the classes of one token each
)

// newDraft makes the machine for a tokenizer and a vocabulary of the given size.
// Its last state is the one of having lost the place.
func newDraft(t *tokenizer.Tokenizer, vocabulary int) *draft {
	form := newWording(t)
	d := &draft{classes: make([]int32, vocabulary), width: wordClasses}
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
	d.guess(form)
	return d
}

// wording is an answer's fixed text, token by token.
type wording struct {
	places []place
	once   map[int32]int // where the tokens stand that it has once, outside numbers
}

func newWording(t *tokenizer.Tokenizer) wording {
	w := wording{places: places(t), once: map[int32]int{}}
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
func (w wording) lost() int { return len(w.places) }

// places are the tokens of the wording. answerPrefix is encoded by itself, as it
// is where it is forced.
func places(t *tokenizer.Tokenizer) []place {
	var all []place
	for _, id := range t.Encode(answerPrefix) {
		all = append(all, place{id: id})
	}
	at, from, digit := 0, strings.Index(answerForm, number), 0
	for _, id := range t.Encode(answerForm) {
		if at >= from+len(number) {
			digit = 0
			if next := strings.Index(answerForm[at:], number); next >= 0 {
				from = at + next
			} else {
				from = len(answerForm)
			}
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
func (w wording) follow(s int, id int32, digit bool) int {
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

// guess fills in what follows in each state, up to what cannot be known.
func (d *draft) guess(form wording) {
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
	d.guesses = slices.Repeat([]int64{noGuess}, states*d.longest)
	for s := range states {
		for i := range int(d.lengths[s]) {
			d.guesses[s*d.longest+i] = int64(form.places[s+i].id)
		}
	}
}

// start is the state before an answer that is forced to begin with ids.
func (d *draft) start(ids []int32) int64 {
	state := int64(0)
	for _, id := range ids {
		state = d.after(state, id)
	}
	return state
}

// after is the state behind token id in a state.
func (d *draft) after(state int64, id int32) int64 {
	return d.next[int(state)*d.width+int(d.classes[id])]
}

// right is how many guesses of a state are the tokens that follow.
func (d *draft) right(state int64, follow []int32) int {
	n := 0
	for n < int(d.lengths[state]) && n < len(follow) && d.guesses[int(state)*d.longest+n] == int64(follow[n]) {
		n++
	}
	return n
}
