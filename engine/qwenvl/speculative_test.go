package qwenvl

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/tokenizer"
	"github.com/denseflow/densereward/engine/tokenizer/qwen"
)

// tokenizers are the reduced one of the nano checkpoint and the published one.
func tokenizers(t testing.TB) map[string]*tokenizer.Tokenizer {
	t.Helper()
	data, err := qwen.JSON()
	if err != nil {
		t.Fatal(err)
	}
	full, err := tokenizer.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]*tokenizer.Tokenizer{"reduced": loadTokenizer(t), "published": full}
}

// spare is how many rows an embedding has beyond its tokenizer's tokens.
const spare = 200

func TestTheTemplateIsThePublishedFormWithItsNumbersMarked(t *testing.T) {
	for name, tok := range tokenizers(t) {
		t.Run(name, func(t *testing.T) {
			var ids []int32
			var digits strings.Builder
			for _, p := range nanoTemplate.places(tok) {
				ids = append(ids, p.id)
				if p.digit > 0 {
					digits.WriteString(tok.Decode([]int32{p.id}, false))
				}
				if got := tok.Decode([]int32{p.id}, false); p.digit > 0 && got != string(nanoTemplate.Number[p.digit-1]) {
					t.Errorf("place %d of a number is %q", p.digit, got)
				}
			}
			if got := tok.Decode(ids, false); got != nanoTemplate.Prefix+nanoTemplate.Text {
				t.Errorf("the template is %q", got)
			}
			if got := digits.String(); got != strings.Repeat(nanoTemplate.Number, 4) {
				t.Errorf("marked as numbers: %q", got)
			}
		})
	}
}

func TestTheDraftFollowsItsTemplate(t *testing.T) {
	for name, tok := range tokenizers(t) {
		t.Run(name, func(t *testing.T) {
			d, template := NewDraft(tok, tok.Size()+spare, nanoTemplate), nanoTemplate.places(tok)
			lost := int64(len(template))
			if want := int64(len(tok.Encode(nanoTemplate.Prefix))); d.Start(tok.Encode(nanoTemplate.Prefix)) != want {
				t.Errorf("behind the forced start the place is %d, want %d", d.Start(tok.Encode(nanoTemplate.Prefix)), want)
			}
			state := int64(0)
			for i, p := range template {
				if state != int64(i) {
					t.Fatalf("at place %d the state is %d", i, state)
				}
				d.draftsAre(t, state, template[i:])
				state = d.After(state, p.id)
			}
			if state != lost || d.lengths[lost] != 0 {
				t.Errorf("behind the template the state is %d with %d draft tokens, want %d and none", state, d.lengths[lost], lost)
			}
		})
	}
}

// draftsAre checks that a state draft tokens the template up to what cannot be known,
// and nothing behind it.
func (d *Draft) draftsAre(t *testing.T, state int64, template []place) {
	t.Helper()
	want := slices.Repeat([]int64{noDraft}, d.longest)
	n := 0
	for n < len(template) && template[n].digit < firstUnknown {
		want[n] = int64(template[n].id)
		n++
	}
	row := d.drafts[int(state)*d.longest : (int(state)+1)*d.longest]
	if !slices.Equal(row, want) || d.lengths[state] != int64(n) {
		t.Fatalf("state %d draft tokens %d of %v, want %d of %v", state, d.lengths[state], row, n, want)
	}
}

func TestTheDraftFindsItsPlaceAgain(t *testing.T) {
	for name, tok := range tokenizers(t) {
		d := NewDraft(tok, tok.Size()+spare, nanoTemplate)
		lost := int64(len(nanoTemplate.places(tok)))
		// behind is the place behind a text of the template.
		behind := func(text string) int64 {
			_, before, found := strings.Cut(nanoTemplate.Prefix+nanoTemplate.Text, text)
			if !found {
				t.Fatalf("the template has no %q", text)
			}
			return lost - int64(len(tok.Encode(before)))
		}
		for what, test := range map[string]struct {
			text string
			want int64
		}{
			"a score of its usual length":           {"Semantic Alignment score: 0.25\nMis", behind("\nMis")},
			"a score of one digit":                  {"Semantic Alignment score: 0.9\nMis", behind("\nMis")},
			"a score of nought":                     {"Semantic Alignment score: 0\nMis", behind("\nMis")},
			"a score of three digits":               {"Semantic Alignment score: 0.875\nMis", behind("\nMis")},
			"a word of its own":                     {"anything at all<|misalignment|>", behind("<|misalignment|>")},
			"a word of its own, and on":             {"anything at all<|artifact|>\nOverall", behind("\nOverall")},
			"nothing of the template":               {"Semantic 猫", lost},
			"a token that the template has thrice":  {"猫:", lost},
			"going on beyond the template's end":    {nanoTemplate.Text + "猫", lost},
			"a number where none is":                {"Semantic 77", lost},
			"back to an earlier word of its own":    {"Semantic Alignment score: 0.25\nMisalignment Locations: <|artifact|>", behind("<|artifact|>")},
			"the same word of its own twice":        {"<|artifact|><|artifact|>", behind("<|artifact|>")},
			"the end of the turn ahead of its time": {"Semantic<|im_end|>", lost},
		} {
			t.Run(name+": "+what, func(t *testing.T) {
				state := d.Start(tok.Encode(nanoTemplate.Prefix))
				for _, id := range tok.Encode(test.text) {
					state = d.After(state, id)
				}
				if state != test.want {
					t.Errorf("the state is %d, want %d", state, test.want)
				}
			})
		}
	}
}

func TestEveryTokenLeadsToAState(t *testing.T) {
	for name, tok := range tokenizers(t) {
		for _, vocabulary := range []int{tok.Size(), tok.Size() + spare} {
			d := NewDraft(tok, vocabulary, nanoTemplate)
			states := int64(len(d.lengths))
			if len(d.next) != int(states)*d.width || len(d.drafts) != int(states)*d.longest || len(d.classes) != vocabulary {
				t.Fatalf("%s: %d states of %d classes, %d transitions, %d draft tokens", name, states, d.width, len(d.next), len(d.drafts))
			}
			for _, class := range d.classes {
				if class < 0 || int(class) >= d.width {
					t.Fatalf("%s: class %d of %d", name, class, d.width)
				}
			}
			for s := range states {
				for _, id := range d.edges() {
					if next := d.After(s, id); next < 0 || next >= states {
						t.Fatalf("%s: token %d leads from state %d to %d of %d", name, id, s, next, states)
					}
				}
				if d.lengths[s] < 0 || s+d.lengths[s] >= states {
					t.Fatalf("%s: %d draft tokens from state %d of %d", name, d.lengths[s], s, states)
				}
			}
			for _, id := range d.drafts {
				if id < noDraft || id >= int64(vocabulary) {
					t.Fatalf("%s: draft tokens token %d of %d", name, id, vocabulary)
				}
			}
		}
	}
}

// edges is a token of every class, and the first and last of all.
func (d *Draft) edges() []int32 {
	tokens := []int32{0, int32(len(d.classes) - 1)}
	for class := range int32(d.width) {
		tokens = append(tokens, int32(max(0, slices.Index(d.classes, class))))
	}
	return tokens
}

// A checkpoint whose embedding is too small is refused later; the draft must not
// be what fails.
func TestADraftForTooSmallAVocabularyIsMade(t *testing.T) {
	tok := loadTokenizer(t)
	for _, vocabulary := range []int{0, 1, 100} {
		if d := NewDraft(tok, vocabulary, nanoTemplate); len(d.classes) != vocabulary {
			t.Errorf("%d classes for %d tokens", len(d.classes), vocabulary)
		}
	}
}

// steps is how many turns of the loop an answer takes behind its first token.
func (d *Draft) steps(from int64, answer []int32) int {
	state, steps, rest := d.After(from, answer[0]), 0, answer[1:]
	for len(rest) > 0 {
		gained := min(d.Accepted(state, rest)+1, len(rest))
		for _, id := range rest[:gained] {
			state = d.After(state, id)
		}
		rest = rest[gained:]
		steps++
	}
	return steps
}

func TestAnAnswerTakesADozenSteps(t *testing.T) {
	for name, tok := range tokenizers(t) {
		d := NewDraft(tok, tok.Size(), nanoTemplate)
		answer := tok.Encode(strings.ReplaceAll(nanoTemplate.Text, nanoTemplate.Number, "0.83"))
		if got := d.steps(d.Start(tok.Encode(nanoTemplate.Prefix)), answer); got > 12 || len(answer) < 58 {
			t.Errorf("%s: %d steps for %d tokens", name, got, len(answer))
		}
	}
	tok := loadTokenizer(t)
	d := NewDraft(tok, tok.Size(), nanoTemplate)
	for _, c := range readCases(t) {
		if got := d.steps(0, c.GeneratedIDs); got > 14 {
			t.Errorf("%s: %d steps for %d tokens", c.Name, got, len(c.GeneratedIDs))
		}
	}
}

// wordings are the published answer and two that end its scores otherwise.
func wordings() map[string]string {
	plain := strings.ReplaceAll(nanoTemplate.Text, nanoTemplate.Number, "0.83")
	return map[string]string{
		"as published": plain,
		"a semicolon behind each score but the last": strings.ReplaceAll(plain, "0.83\n", "0.83;\n"),
		"semicolons and scores of one digit":         strings.ReplaceAll(plain, "0.83\n", "0.8;\n"),
	}
}

// semicolons is the published template with a semicolon behind each score but the last.
func semicolons() AnswerTemplate {
	other := nanoTemplate
	other.Text = strings.ReplaceAll(other.Text, other.Number+"\n", other.Number+";\n")
	return other
}

func TestAnAnswerOfEitherWordingTakesTenSteps(t *testing.T) {
	for name, tok := range tokenizers(t) {
		one, two := NewDraft(tok, tok.Size(), nanoTemplate), NewDraft(tok, tok.Size(), nanoTemplate, semicolons())
		for what, text := range wordings() {
			answer := tok.Encode(text)
			start := two.Start(tok.Encode(nanoTemplate.Prefix))
			before, got := one.steps(start, answer), two.steps(start, answer)
			t.Logf("%s, %s: %d steps for %d tokens, %d with the published wording alone", name, what, got, len(answer), before)
			if got > 10 || got > before {
				t.Errorf("%s, %s: %d steps for %d tokens, %d with the published wording alone", name, what, got, len(answer), before)
			}
		}
	}
}

func TestNoDraftRunsFromOneTemplateIntoTheNext(t *testing.T) {
	tok := loadTokenizer(t)
	d := NewDraft(tok, tok.Size(), nanoTemplate, semicolons())
	end := len(nanoTemplate.places(tok))
	if d.lengths[end] != 0 {
		t.Errorf("behind the first template %d draft tokens", d.lengths[end])
	}
	for _, id := range d.edges() {
		if next := d.After(int64(end), id); next == int64(end)+1 {
			t.Errorf("token %d leads from the first template's end into the second", id)
		}
	}
}

// Wherever the template is, walks over it end in states that are there.
func TestRandomAnswersKeepTheDraftWithinItsStates(t *testing.T) {
	tok := loadTokenizer(t)
	d := NewDraft(tok, tok.Size(), nanoTemplate)
	rng := rand.New(rand.NewPCG(1, 9))
	state := int64(0)
	edges := d.edges()
	for range 100_000 {
		id := edges[rng.IntN(len(edges))]
		if n := d.lengths[state]; n > 0 && rng.IntN(3) > 0 { // follow some of the draft tokens
			state += rng.Int64N(n + 1)
		}
		state = d.After(state, id)
		if state < 0 || state >= int64(len(d.lengths)) {
			t.Fatalf("state %d of %d", state, len(d.lengths))
		}
	}
}

func BenchmarkNewDraft(b *testing.B) {
	tok := tokenizers(b)["published"]
	for b.Loop() {
		NewDraft(tok, 151936, nanoTemplate, semicolons())
	}
}
