package draft

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/denseflow/densereward/engine/tokenizer"
	"github.com/denseflow/densereward/engine/tokenizer/qwen"
)

const (
	prefix    = "<think>\n...</think>\n<answer>"
	published = "Semantic Alignment score: 0.50\nMisalignment Locations: <|misalignment|>" +
		"\nAesthetic score: 0.50\nPlausibility score: 0.50\nArtifact Locations: <|artifact|>" +
		"\nOverall Impression score: 0.50</answer><|im_end|>"
)

// publishedTokenizer is read once for all tests: that takes longer than most of them.
var publishedTokenizer = sync.OnceValues(func() (*tokenizer.Tokenizer, error) {
	data, err := qwen.JSON()
	if err != nil {
		return nil, err
	}
	return tokenizer.Parse(data)
})

// tokenizers are the pocket checkpoint's and the published one.
func tokenizers(t testing.TB) map[string]*tokenizer.Tokenizer {
	t.Helper()
	full, err := publishedTokenizer()
	if err != nil {
		t.Fatal(err)
	}
	pocket, err := tokenizer.Load("../../imagedoctor/pocket/tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	return map[string]*tokenizer.Tokenizer{"pocket": pocket, "published": full}
}

func encode(t *tokenizer.Tokenizer, text string) []int32 {
	return append(t.Encode(prefix), t.Encode(text)...)
}

// knowing is a Learner of the published form.
func knowing(t *tokenizer.Tokenizer) *Learner { return New(t, t.Size(), encode(t, published)) }

// spoken is an answer in a wording with random scores of so many decimals.
func spoken(rng *rand.Rand, wording string, decimals int) string {
	for strings.Contains(wording, "0.50") {
		score := "0."
		for range decimals {
			score += fmt.Sprint(rng.IntN(10))
		}
		wording = strings.Replace(wording, "0.50", score, 1)
	}
	return wording
}

// wordings are the published answer and what other checkpoints may say.
func wordings() map[string]string {
	return map[string]string{
		"as published": published,
		"a semicolon behind each score but the last": strings.ReplaceAll(published, "0.50\n", "0.50;\n"),
		"another order": "Overall Impression score: 0.50\nArtifact Locations: <|artifact|>\nPlausibility score: 0.50\nAesthetic score: 0.50" +
			"\nMisalignment Locations: <|misalignment|>\nSemantic Alignment score: 0.50</answer><|im_end|>",
	}
}

func TestEveryWordingIsDraftedAlikeOnceItWasSeen(t *testing.T) {
	for name, tok := range tokenizers(t) {
		least, most := 1e9, 0.0
		for what, wording := range wordings() {
			rng := rand.New(rand.NewPCG(1, 2))
			learner := knowing(tok)
			// perStep is how many tokens a step gives, of the next n answers.
			perStep := func(n int) float64 {
				tokens, steps := 0, 0
				for range n {
					answer := tok.Encode(spoken(rng, wording, 2))
					m := learner.Machine()
					steps += m.Steps(m.Start(tok.Encode(prefix)), answer)
					tokens += len(answer) - 1
					learner.Learn(append(tok.Encode(prefix), answer...))
				}
				return float64(tokens) / float64(steps)
			}
			first, _, then := perStep(1), perStep(63), perStep(64)
			t.Logf("%s, %s: %.2f tokens a step in the first answer, %.2f after 64", name, what, first, then)
			least, most = min(least, then), max(most, then)
		}
		if least < 0.9*most {
			t.Errorf("%s: from %.2f to %.2f tokens a step", name, least, most)
		}
	}
}

func TestAnAnswerOfThePublishedFormTakesNineSteps(t *testing.T) {
	for name, tok := range tokenizers(t) {
		m := knowing(tok).Machine()
		for decimals, want := range map[int]int{1: 9, 2: 9, 3: 14} {
			answer := tok.Encode(spoken(rand.New(rand.NewPCG(3, 4)), published, decimals))
			if got := m.Steps(m.Start(tok.Encode(prefix)), answer); got > want {
				t.Errorf("%s: scores of %d decimals: %d steps, want %d", name, decimals, got, want)
			}
		}
	}
}

func TestNothingIsDraftedBeyondWhatIsKnown(t *testing.T) {
	tok := tokenizers(t)["published"]
	for name, m := range map[string]*Machine{"nothing learnt": New(tok, tok.Size()).Machine(), "no vocabulary": New(tok, 0).Machine()} {
		if m.States() != 1 || m.Lengths[Root] != 0 {
			t.Errorf("%s: %d states, %d draft tokens", name, m.States(), m.Lengths[Root])
		}
	}
	learner := New(tok, tok.Size())
	learner.Learn(tok.Encode("one two three<|im_end|>"))
	learner.Learn(tok.Encode("four five six<|im_end|>"))
	m := learner.Machine()
	state := m.Start(tok.Encode("one two three"))
	end := tok.Encode("<|im_end|>")
	if got := m.Accepted(state, append(end, tok.Encode("four")...)); got != 1 {
		t.Errorf("%d draft tokens, want the end token and nothing of the next answer", got)
	}
}

func TestDigitsAreDraftedOnlyWhereTheyAreLikely(t *testing.T) {
	tok := tokenizers(t)["published"]
	learner := New(tok, tok.Size())
	learner.Learn(tok.Encode(`The cube is red. Box [17, 230] scores 0.83; end<|im_end|>`))
	m := learner.Machine()
	for before, want := range map[string]string{
		"The cube":             " is red. Box [",
		"Box [1":               "",
		"Box [17":              ", ",
		"Box [5":               "",
		"] scores":             " 0.",
		"] scores 0.7":         "",
		"] scores 0.71":        "; end<|im_end|>",
		"] scores 0.7;":        " end<|im_end|>",
		"] scores 0.712345":    "; end<|im_end|>",
		"Nothing of this kind": "",
	} {
		state := m.Start(tok.Encode(before))
		var ids []int32
		for _, id := range m.Drafts[int(state)*Longest : int(state)*Longest+int(m.Lengths[state])] {
			ids = append(ids, int32(id))
		}
		if got := tok.Decode(ids, false); got != want {
			t.Errorf("behind %q it drafts %q, want %q", before, got, want)
		}
	}
}

func TestAFixedLearnerLearnsNothing(t *testing.T) {
	tok := tokenizers(t)["pocket"]
	learner := knowing(tok)
	learner.Fix()
	before := learner.Machine()
	learner.Learn(tok.Encode("another wording"))
	if learner.Machine() != before {
		t.Error("an answer changed what is drafted")
	}
}

func TestAHintIsKnownToOneMachine(t *testing.T) {
	tok := tokenizers(t)["published"]
	learner := knowing(tok)
	caption := tok.Encode("a purple hexagon beside four yellow crescents")
	with, without := learner.Machine(caption), learner.Machine()
	rest := tok.Encode(" beside four yellow crescents")
	if got := with.Accepted(with.Start(tok.Encode("a purple hexagon")), rest); got != len(rest) {
		t.Errorf("with the hint %d of %d tokens", got, len(rest))
	}
	if got := without.Accepted(without.Start(tok.Encode("a purple hexagon")), rest); got != 0 {
		t.Errorf("without it %d", got)
	}
}

// Whatever was learnt, tables are bounded and every walk stays within them.
func TestMemoryIsBoundedAndWalksStayWithin(t *testing.T) {
	tok := tokenizers(t)["pocket"]
	rng := rand.New(rand.NewPCG(5, 6))
	learner := knowing(tok)
	anything := func(n int) []int32 {
		ids := make([]int32, n)
		for i := range ids {
			ids[i] = int32(rng.IntN(tok.Size()))
			if rng.IntN(3) == 0 {
				ids[i] = tok.Encode("7")[0]
			}
		}
		return ids
	}
	for range 200 {
		learner.Learn(anything(1 + rng.IntN(3000)))
	}
	for range 20 {
		learner.Learn(anything(1 + rng.IntN(60)))
		m := learner.Machine(anything(200), anything(200))
		if n := m.States(); n > 2*(maxTokens+maxAnswers)+2 || m.Width > maxClasses || len(learner.answers) > maxAnswers {
			t.Fatalf("%d states, %d classes, %d answers", n, m.Width, len(learner.answers))
		}
		if len(m.Next) != int(m.States())*m.Width || len(m.Drafts) != int(m.States())*Longest || len(m.Classes) != tok.Size() {
			t.Fatalf("%d transitions, %d draft tokens, %d classes of %d states", len(m.Next), len(m.Drafts), len(m.Classes), m.States())
		}
		for i, to := range m.Next {
			if to < 0 || int64(to) >= m.States() {
				t.Fatalf("transition %d leads to state %d of %d", i, to, m.States())
			}
		}
		for s, n := range m.Lengths {
			row := m.Drafts[s*Longest : (s+1)*Longest]
			if n < 0 || n > Longest || slices.Contains(row[:n], None) || slices.ContainsFunc(row[n:], func(id int64) bool { return id != None }) {
				t.Fatalf("state %d drafts %d of %v", s, n, row)
			}
		}
	}
}

func TestManyLearnAndDraftAtOnce(t *testing.T) {
	tok := tokenizers(t)["pocket"]
	learner := knowing(tok)
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			for range 20 {
				m := learner.Machine()
				answer := tok.Encode(spoken(rng, published, 1+rng.IntN(4)))
				if m.Steps(m.Start(tok.Encode(prefix)), answer) >= len(answer) {
					t.Error("nothing was drafted")
				}
				learner.Learn(append(tok.Encode(prefix), answer...))
			}
		})
	}
	wait.Wait()
}

// testdata/thoughts.txt are answers of the pocket checkpoint in mode think on held-out
// scenes, each behind its caption.
func TestThoughtsAreDrafted(t *testing.T) {
	tok := tokenizers(t)["pocket"]
	data, err := os.ReadFile("testdata/thoughts.txt")
	if err != nil {
		t.Fatal(err)
	}
	answers := strings.Split(strings.TrimSuffix(string(data), "\x00\n"), "\x00\n")
	for _, what := range []string{"what is known from the start", "learnt", "learnt, with captions"} {
		learner := knowing(tok)
		tokens, steps := [2]int{}, [2]int{}
		for i, both := range answers {
			caption, text, _ := strings.Cut(both, "\n")
			m := learner.Machine()
			if strings.HasSuffix(what, "captions") {
				m = learner.Machine(tok.Encode(caption))
			}
			answer := tok.Encode(text)
			half := i / (len(answers) / 2)
			steps[half] += m.Steps(m.Start(nil), answer)
			tokens[half] += len(answer) - 1
			if strings.HasPrefix(what, "learnt") {
				learner.Learn(answer)
			}
		}
		first, second := float64(tokens[0])/float64(steps[0]), float64(tokens[1])/float64(steps[1])
		t.Logf("%s: %.2f tokens a step in the first %d answers, %.2f in the others", what, first, len(answers)/2, second)
		if strings.HasPrefix(what, "learnt") && second < 2.5 {
			t.Errorf("%s: %.2f tokens a step", what, second)
		}
	}
}

func BenchmarkMachine(b *testing.B) {
	tok := tokenizers(b)["published"]
	rng := rand.New(rand.NewPCG(7, 8))
	for name, tokens := range map[string]int{"OneWording": 0, "Full": maxTokens} {
		b.Run(name, func(b *testing.B) {
			learner := knowing(tok)
			for n := 0; n < tokens; n += 100 {
				answer := make([]int32, 100)
				for i := range answer {
					answer[i] = int32(rng.IntN(tok.Size()))
				}
				learner.Learn(answer)
			}
			for b.Loop() {
				learner.Machine([]int32{1, 2, 3})
			}
		})
	}
}
