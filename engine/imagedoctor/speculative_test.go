package imagedoctor

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/denseflow/densereward/reward"
)

// morePrompts widens the comparison of speculative decoding with a token a step: so many
// prompts as people write them, and as many short ones, for each of its forms.
var morePrompts = flag.Int("imagedoctor.prompts", 0, "random prompts on which speculative decoding is compared with a token a step [2, and 4 short ones]")

// prompts is the number of random prompts of a sort.
func prompts(usual int) int {
	if *morePrompts > 0 {
		return *morePrompts
	}
	return usual
}

// speculativeForms are the ways in which answers are drafted.
func speculativeForms() map[string]form {
	return map[string]form{
		"as the model begins":                  {small: true},
		"with the published start":             {small: true, prefixed: true},
		"with a penalty":                       {small: true, penalty: 1.05},
		"with a penalty and a published start": {small: true, penalty: 1.3, prefixed: true},
	}
}

// A batch's answers, speculative and a token a step, must be the same.
func agreeOn(t *testing.T, f form, mode reward.Mode, ready []*prepared, most int, what string) int {
	t.Helper()
	slow := f
	slow.noSpeculative = true
	got := answer(t, nanoEvaluator(t, f), mode, ready, most)
	want := answer(t, nanoEvaluator(t, slow), mode, ready, most)
	same := 0
	for i := range got {
		if sameResult(t, fmt.Sprintf("%s, row %d of %d", what, i, len(ready)), got[i], want[i]) {
			same++
		}
	}
	return same
}

func TestSpeculativeDecodingAnswersAsATokenAStepDoes(t *testing.T) {
	t.Parallel()
	const rows, most = 4, 80
	for name, f := range speculativeForms() {
		t.Run(name, func(t *testing.T) {
			e := nanoEvaluator(t, f)
			rng := rand.New(rand.NewPCG(11, 4))
			short, long := 0, 0
			for n := prompts(few(4, 8)); n > 0; n -= rows {
				var ready []*prepared
				for range min(n, rows) {
					ready = append(ready, randomPrompt(rng, e.config, e.tokenizer))
				}
				short += agreeOn(t, f, reward.ModeAnswer, ready, most, fmt.Sprintf("short prompts, %d left", n))
			}
			for n := prompts(few(2, 4)); n > 0; n -= rows {
				var ready []*prepared
				mode := []reward.Mode{reward.ModeThink, reward.ModeAnswer}[n/rows%2]
				for range min(n, rows) {
					s := randomSample(rng)
					s.Mode = mode
					if err := e.Prepare(t.Context(), &s); err != nil {
						t.Fatal(err)
					}
					ready = append(ready, s.Prepared.(*prepared))
				}
				long += agreeOn(t, f, mode, ready, most, fmt.Sprintf("%s, %d left", mode, n))
			}
			t.Logf("%d short prompts and %d whole ones had the same answers", short, long)
		})
	}
}

// A wrong idea of where an answer begins costs time and nothing else.
func TestAWrongPlaceInTheTemplateChangesNoAnswer(t *testing.T) {
	t.Parallel()
	e := nanoEvaluator(t, form{small: true})
	rng := rand.New(rand.NewPCG(5, 5))
	var ready []*prepared
	for range 4 {
		ready = append(ready, randomPrompt(rng, e.config, e.tokenizer))
	}
	want := answer(t, e, reward.ModeAnswer, ready, 30)
	b := e.joined(reward.ModeAnswer, ready)
	b.MaxNewTokens = 30
	step := int64(51)
	if *everyCase {
		step = 17
	}
	for state := int64(0); state < b.Draft.States(); state += step {
		b.DraftState = state
		out, err := e.session.Run(t.Context(), e.inputs(b))
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range ready {
			sameResult(t, fmt.Sprintf("from state %d, row %d", state, i), e.result(p, out, i), want[i])
		}
	}
}

// Right answers, wrong ones and others' are learnt: the draft is right, or wrong, in
// every way.
func TestWhatADraftLearntChangesNoAnswer(t *testing.T) {
	t.Parallel()
	e := nanoEvaluator(t, form{small: true})
	rng := rand.New(rand.NewPCG(6, 7))
	var ready []*prepared
	for range 4 {
		ready = append(ready, randomPrompt(rng, e.config, e.tokenizer))
	}
	want := answer(t, nanoEvaluator(t, form{small: true, noSpeculative: true}), reward.ModeAnswer, ready, 40)
	for round := range 3 {
		for i, r := range answer(t, e, reward.ModeAnswer, ready, 40) {
			sameResult(t, fmt.Sprintf("round %d, row %d", round, i), r, want[i])
		}
		for _, r := range want {
			ids := slices.Clone(r.Trace.GeneratedIDs)
			if round == 1 { // half of it right
				ids = append(ids[:len(ids)/2], want[0].Trace.GeneratedIDs...)
			}
			e.learn(reward.ModeAnswer, e.prefix(reward.ModeAnswer), ids)
		}
	}
}

func TestAnAnswerThatIsCutOffIsTheBeginningOfTheWhole(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]form{
		"speculative": {small: true}, "a token a step": {small: true, noSpeculative: true}, "with a penalty": {small: true, penalty: 1.05},
	} {
		t.Run(name, func(t *testing.T) {
			e := nanoEvaluator(t, f)
			rng := rand.New(rand.NewPCG(8, 1))
			var ready []*prepared
			for range 2 {
				ready = append(ready, randomPrompt(rng, e.config, e.tokenizer))
			}
			full := answer(t, e, reward.ModeAnswer, ready, 20)
			step := 3
			switch {
			case f.noSpeculative: // all places are alike
				step = 6
			case *everyCase:
				step = 1
			}
			for most := 1; most <= 20; most += step {
				for i, r := range answer(t, e, reward.ModeAnswer, ready, most) {
					want := full[i].Trace.GeneratedIDs
					want = want[:min(most, len(want))]
					if !slices.Equal(r.Trace.GeneratedIDs, want) {
						t.Errorf("at most %d tokens, row %d: %v, want %v", most, i, r.Trace.GeneratedIDs, want)
					}
				}
			}
		})
	}
}

// A graph with a penalty whose value is 1 is the graph without one.
func TestAPenaltyOfOneHasNoEffect(t *testing.T) {
	t.Parallel()
	plain, penalised := nanoEvaluator(t, form{small: true}), nanoEvaluator(t, form{small: true, penalty: 1.05})
	rng := rand.New(rand.NewPCG(2, 2))
	var ready []*prepared
	for range 4 {
		ready = append(ready, randomPrompt(rng, plain.config, plain.tokenizer))
	}
	want := answer(t, plain, reward.ModeAnswer, ready, 60)
	b := penalised.joined(reward.ModeAnswer, ready)
	b.MaxNewTokens, b.Penalty = 60, 1
	out, err := penalised.session.Run(t.Context(), penalised.inputs(b))
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range ready {
		sameResult(t, fmt.Sprintf("row %d", i), penalised.result(p, out, i), want[i])
	}
}
