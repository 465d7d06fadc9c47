// Package draft drafts how answers go on, from answers that were given before: draft
// tokens are checked by the model and cost nothing but time when rejected, so they need
// not be right.
//
// A Learner keeps answers and makes a Machine of them: a suffix automaton over their
// tokens, whose state is the longest text that an answer's end shares with what is known,
// and which drafts what followed there last. Digits of numbers are one symbol for each
// place in a number, whatever they are: one answer's scores tell nothing of the next
// one's. How far a draft goes follows how sure it is, as in SuffixDecoding
// (arXiv 2411.04975): to the end where all that is known goes on in the same way, and no
// further than a fork behind a text that is too short to tell.
package draft

// Longest is the most draft tokens of a step.
const Longest = 32

// None fills up rows of drafts. No prediction equals it, or a row that knows less than
// its neighbours could move on to states that are not there; as an index it names the
// last token.
const None = -1

// Machine is a Learner's answers at one moment, as tables that a graph walks: it is never
// changed.
type Machine struct {
	Classes []int32 // of each token of the vocabulary
	Width   int     // number of classes
	Next    []int32 // state after a token: Next[state*Width+class]
	Drafts  []int64 // (states,Longest): what follows in each state, filled up with None
	Lengths []int64 // how much of each row of Drafts is meant
	Along   []int32 // (states,Longest+1): the state behind each number of a state's draft tokens
}

// Root is the state of knowing nothing.
const Root = 0

// Classes of tokens.
const (
	otherClass  = iota // no token that is known
	digitClass         // a digit or the point
	textClasses        // the first of the classes of one token each
)

// States is the number of states.
func (m *Machine) States() int64 { return int64(len(m.Lengths)) }

// Start is the state before an answer whose prefix is ids.
func (m *Machine) Start(ids []int32) int64 {
	state := int64(Root)
	for _, id := range ids {
		state = m.After(state, id)
	}
	return state
}

// After is the state behind token id in a state.
func (m *Machine) After(state int64, id int32) int64 {
	return int64(m.Next[int(state)*m.Width+int(m.Classes[id])])
}

// along fills in Along: a state's draft tokens do not lead to states that stand side by
// side.
func (m *Machine) along() {
	m.Along = make([]int32, m.States()*(Longest+1))
	for s := range m.States() {
		row, at := m.Along[s*(Longest+1):(s+1)*(Longest+1)], s
		for n := range row {
			if n > 0 && int64(n) <= m.Lengths[s] {
				at = m.After(at, int32(m.Drafts[s*Longest+int64(n-1)]))
			}
			row[n] = int32(at)
		}
	}
}

// Accepted is how many draft tokens of a state are the tokens that follow.
func (m *Machine) Accepted(state int64, follow []int32) int {
	n := 0
	for n < int(m.Lengths[state]) && n < len(follow) && m.Drafts[int(state)*Longest+n] == int64(follow[n]) {
		n++
	}
	return n
}

// Steps is how many steps of the decoding loop an answer takes behind its first token.
func (m *Machine) Steps(from int64, answer []int32) int {
	state, steps, rest := m.After(from, answer[0]), 0, answer[1:]
	for ; len(rest) > 0; steps++ {
		gained := min(m.Accepted(state, rest)+1, len(rest))
		for _, id := range rest[:gained] {
			state = m.After(state, id)
		}
		rest = rest[gained:]
	}
	return steps
}
