package imagedoctor

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/orttest"
	"github.com/denseflow/densereward/engine/qwenvl"
	"github.com/denseflow/densereward/engine/qwenvl/draft"
	"github.com/denseflow/densereward/reward"
)

// dictation is the evaluator with answers that are dictated to it: what the model
// predicts is replaced, everything else is done.
type dictation struct{ *Evaluator }

func newDictation(t *testing.T, f form) dictation {
	t.Helper()
	e := formed(t, f, ort.Provider{}, func(o *graphOptions) { o.TeacherForced = true })
	return dictation{e}
}

// take dictates answers to questions, from a state of the draft on. It returns
// the tokens of each row and all heatmaps.
func (d dictation) take(t *testing.T, questions []*prepared, answers [][]int32, state int64, most int) (tokens [][]int32, maps []float32) {
	t.Helper()
	b := d.joined(reward.ModeAnswer, questions)
	b.MaxNewTokens, b.DraftState = most, state
	var forced []int64
	for _, answer := range answers {
		for _, id := range answer {
			forced = append(forced, int64(id))
		}
	}
	b.TeacherForced = ort.Int64s([]int64{int64(len(answers)), int64(len(answers[0]))}, forced)
	out, err := d.session.Run(t.Context(), d.inputs(b))
	if err != nil {
		t.Fatalf("answers %v from state %d, at most %d tokens: %v", answers, state, most, err)
	}
	length := int(out[outputTokens].Shape[1])
	for r := range answers {
		var row []int32
		for _, id := range out[outputTokens].Int64s()[r*length : (r+1)*length] {
			row = append(row, int32(id))
		}
		tokens = append(tokens, row)
	}
	return tokens, out[outputHeatmaps].Float32s()
}

// heard is what must come of a dictated answer: its tokens up to its end or the
// limit, then the end token for as long as other rows go on.
func (d dictation) heard(answer []int32, most, length int) []int32 {
	var want []int32
	for _, id := range answer[:min(most, len(answer))] {
		want = append(want, id)
		if d.config.IsEOS(id) {
			break
		}
	}
	for len(want) < length {
		want = append(want, d.config.EOSTokenIDs[0])
	}
	return want
}

// randomAnswer is made of pieces of the template, of single tokens that occur
// again and again, and of anything.
func (d dictation) randomAnswer(rng *rand.Rand, template []int32, length int) []int32 {
	var answer []int32
	for len(answer) < length {
		switch rng.IntN(6) {
		case 0, 1, 2:
			from := rng.IntN(len(template))
			answer = append(answer, template[from:from+rng.IntN(len(template)-from)]...)
		case 3: // token 0 is what fills up a row of draft tokens
			answer = append(answer, slices.Repeat([]int32{[]int32{0, 15, d.config.MisalignmentTokenID}[rng.IntN(3)]}, 1+rng.IntN(40))...)
		case 4:
			answer = append(answer, int32(rng.IntN(d.config.VocabSize)))
		case 5:
			answer = append(answer, []int32{
				d.config.MisalignmentTokenID, d.config.ArtifactTokenID, int32(d.config.VocabSize - 1),
			}[rng.IntN(3)])
		}
	}
	answer = answer[:length]
	for i, id := range answer { // rows end rarely, or nothing would be left to see
		if d.config.IsEOS(id) && rng.IntN(4) > 0 {
			answer[i] = 0
		}
	}
	return answer
}

// Whatever an answer says, steps of several tokens must give the tokens and
// heatmaps of steps of one, whether draft tokens are right, wrong or right by chance.
func TestDraftTokensChangeNoAnswer(t *testing.T) {
	t.Parallel()
	for name, penalty := range map[string]float64{"without a penalty": 0, "with a penalty": 1.05} {
		t.Run(name, func(t *testing.T) {
			speculative := newDictation(t, form{small: true, penalty: penalty})
			slow := newDictation(t, form{small: true, penalty: penalty, noSpeculative: true})
			tokens := speculative.tokenizer
			template := tokens.Encode(answerPrefix + publishedText)
			rng := rand.New(rand.NewPCG(3, 9))
			for round := range few(4, 8) {
				rows, length := 1+rng.IntN(3), 1+rng.IntN(90)
				most := 1 + rng.IntN(length)
				var questions []*prepared
				var answers [][]int32
				for range rows {
					questions = append(questions, randomPrompt(rng, speculative.config, tokens))
					answers = append(answers, speculative.randomAnswer(rng, template, length))
				}
				state := rng.Int64N(speculative.drafts[reward.ModeAnswer].Machine().States())
				got, gotMaps := speculative.take(t, questions, answers, state, most)
				want, wantMaps := slow.take(t, questions, answers, 0, most)
				for r := range answers {
					heard := speculative.heard(answers[r], most, len(want[r]))
					if !slices.Equal(want[r], heard) {
						t.Errorf("round %d row %d: a token a step heard %v, dictated %v", round, r, want[r], heard)
					}
					if !slices.Equal(got[r], heard) {
						t.Errorf("round %d row %d: speculative heard %v, dictated %v", round, r, got[r], heard)
					}
				}
				bound{mean: sameHeatmaps, max: sameHeatmaps}.hold(t, fmt.Sprintf("round %d: heatmaps", round), gotMaps, wantMaps)
				if t.Failed() {
					return
				}
			}
		})
	}
}

// The first special token of a kind counts, but for one at the very beginning.
func TestAHeatmapIsOfTheFirstSpecialTokenFromTheSecondTokenOn(t *testing.T) {
	t.Parallel()
	for name, noSpeculative := range map[string]bool{"speculative": false, "a token a step": true} {
		t.Run(name, func(t *testing.T) {
			d := newDictation(t, form{small: true, noSpeculative: noSpeculative})
			mis, art, end := d.config.MisalignmentTokenID, d.config.ArtifactTokenID, d.config.EOSTokenIDs[0]
			question := randomPrompt(rand.New(rand.NewPCG(7, 7)), d.config, d.tokenizer)
			maps := func(answer ...int32) (misalignment, artifact []float32) {
				_, all := d.take(t, []*prepared{question}, [][]int32{append(answer, end)}, 0, 20)
				return all[:len(all)/kinds], all[len(all)/kinds:]
			}
			zero := make([]float32, 80*80)
			once, none := maps(15, 16, mis, 17)
			if slices.Equal(once, zero) || !slices.Equal(none, zero) {
				t.Error("one special token does not give its own map alone")
			}
			if again, _ := maps(15, 16, mis, 17, mis, mis); !slices.Equal(again, once) {
				t.Error("a second one of its kind changes the map")
			}
			if first, _ := maps(mis, 16, 17); !slices.Equal(first, zero) {
				t.Error("the first token of all gives a map")
			}
			later, _ := maps(mis, 16, mis)
			if slices.Equal(later, zero) {
				t.Error("the first token of all keeps a later one from giving its map")
			}
			if both, other := maps(mis, 16, mis, art); !slices.Equal(both, later) || slices.Equal(other, zero) {
				t.Error("the kinds are not independent of each other")
			}
			if cut, _ := maps(15, 16, end, mis); !slices.Equal(cut, zero) {
				t.Error("a token behind the end gives a map")
			}
		})
	}
}

// A graph that loses its place in the draft answers as well, in more steps: those it took
// are counted in the runtime's profile.
func TestTheGraphTakesTheStepsThatDraftTokensLeave(t *testing.T) {
	t.Parallel()
	d := newDictation(t, form{small: true})
	graph := d.form()
	graph.TeacherForced = true
	g, err := buildGraph(d.config, d.checkpoint.Weights, graph)
	if err != nil {
		t.Fatal(err)
	}
	answer := d.tokenizer.Encode(publishedText)
	machine := d.drafts[reward.ModeAnswer].Machine()
	for name, state := range map[string]int64{"from a known start": machine.Start(d.tokenizer.Encode(answerPrefix)), "from nowhere": draft.Root} {
		t.Run(name, func(t *testing.T) {
			prefix := filepath.Join(t.TempDir(), "profile")
			s, err := qwenvl.OpenSession(orttest.Open(t), g, d.checkpoint.Weights, ort.SessionOptions{Threads: 1, ProfilePrefix: prefix})
			if err != nil {
				t.Fatal(err)
			}
			whole := d.session
			d.session = s
			defer func() { d.session = whole }()
			question := randomPrompt(rand.New(rand.NewPCG(3, 9)), d.config, d.tokenizer)
			d.take(t, []*prepared{question}, [][]int32{answer}, state, len(answer))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if got, want := turns(t, prefix), machine.Steps(state, answer); got != want {
				t.Errorf("%d steps, want %d", got, want)
			}
		})
	}
}

// turns counts the runs of one node of the decoding loop.
func turns(t *testing.T, prefix string) int {
	t.Helper()
	files, err := filepath.Glob(prefix + "*.json")
	if err != nil || len(files) != 1 {
		t.Fatalf("profiles %v, %v", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), `"loop/layers.0/QuickGelu_kernel_time"`)
}
