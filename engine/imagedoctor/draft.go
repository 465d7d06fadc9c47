package imagedoctor

import (
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

// newDraft makes the machine for a tokenizer with a vocabulary of the given
// size. Its last state is the one of not knowing the place.
func newDraft(t *tokenizer.Tokenizer, vocabulary int) *draft {
	wording := places(t)
	d := &draft{classes: make([]int32, vocabulary)}
	lost := len(wording)
	states := lost + 1

	digits := d.class(t, "0123456789.")
	once := map[int32]int{} // place of a token that the wording has once
	for i, p := range wording {
		if p.digit == 0 {
			if _, ok := once[p.id]; ok {
				once[p.id] = -1
			} else {
				once[p.id] = i
			}
			d.classOf(p.id)
		}
	}
	d.next = make([]int64, states*d.width)
	for s := range states {
		for id, class := range d.classes {
			if class > 0 || id == 0 {
				d.next[s*d.width+int(class)] = int64(follow(wording, s, int32(id), int(class), digits, once))
			}
		}
		d.next[s*d.width] = int64(lost)
	}
	d.guess(wording)
	return d
}

// places is the wording, token by token. The prefix is cut off first, as it is
// where it is forced.
func places(t *tokenizer.Tokenizer) []place {
	var wording []place
	for _, id := range t.Encode(answerPrefix) {
		wording = append(wording, place{id: id})
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
		wording = append(wording, p)
	}
	return wording
}

// class gives the tokens of single characters one class, and returns it.
func (d *draft) class(t *tokenizer.Tokenizer, characters string) int {
	d.width = 2
	for _, c := range characters {
		if ids := t.Encode(string(c)); len(ids) == 1 && int(ids[0]) < len(d.classes) {
			d.classes[ids[0]] = 1
		}
	}
	return 1
}

// classOf is the class of a token of its own.
func (d *draft) classOf(id int32) {
	if int(id) < len(d.classes) && d.classes[id] == 0 {
		d.classes[id] = int32(d.width)
		d.width++
	}
}

// follow is the state after token id in state s.
func follow(wording []place, s int, id int32, class, digits int, once map[int32]int) int {
	lost := len(wording)
	if s < lost {
		p := wording[s]
		if p.digit > 0 && class == digits || p.digit == 0 && p.id == id {
			return s + 1
		}
		end := s // behind the number that the state is in
		for end < lost && wording[end].digit > 0 {
			end++
		}
		switch {
		case p.digit > 1 && end < lost && wording[end].id == id: // a short number
			return end + 1
		case p.digit == 0 && class == digits && s > 0 && wording[s-1].digit > 0: // a long one
			return s
		}
	}
	if i, ok := once[id]; ok && i >= 0 {
		return i + 1
	}
	return lost
}

// guess fills in what follows in each state, up to what cannot be known.
func (d *draft) guess(wording []place) {
	known := func(i int) bool { return i < len(wording) && wording[i].digit < firstUnknown }
	states := len(wording) + 1
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
			d.guesses[s*d.longest+i] = int64(wording[s+i].id)
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
