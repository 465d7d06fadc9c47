package evaluator

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
	"github.com/denseflow/densereward/engine/qwenvl/qwenvltest"
	"github.com/denseflow/densereward/reward"
)

// The callers ask what the judge file would have asked, and are answered with the
// tokens that transformers generates.
func TestPromptsAreContinuedAsTransformersDoes(t *testing.T) {
	for family, name := range families {
		t.Run(string(family), func(t *testing.T) {
			j := loadJudge(t, qwenvltest.Folder(t, name), askYesOrNo(t, ""), Options{MaxBatch: 3})
			cases, _, samples := judgeCases(t, name)
			var want []reward.Generation
			for i, c := range cases {
				ids := c.GeneratedIDs
				samples[i].Mode, samples[i].Prompt = reward.ModeGenerate, j.file.Ask(samples[i].Prompt)
				if i%2 == 1 { // a short answer beside long ones
					samples[i].Continuation.MaxNewTokens = 5
					ids = ids[:min(5, len(ids))]
				}
				want = append(want, reward.Generation{
					Text: j.checkpoint.Tokenizer.Decode(ids, true), PromptTokens: len(c.InputIDs), Tokens: len(ids), Truncated: !j.config.IsEOS(ids[len(ids)-1]),
				})
			}
			for i, r := range generated(t, j, samples) {
				if r != want[i] {
					t.Errorf("case %d: wrote %+v, want %+v", i, r, want[i])
				}
			}
		})
	}
}

func generated(t *testing.T, j *Judge, samples []reward.Sample) []reward.Generation {
	t.Helper()
	results, err := j.Generate(t.Context(), samples)
	if err != nil {
		t.Fatal(err)
	}
	written := make([]reward.Generation, len(results))
	for i, r := range results {
		if r.Err != nil {
			t.Fatalf("sample %d: %v", i, r.Err)
		}
		written[i] = *r.Generation
	}
	return written
}

func TestACallersOwnChatIsTheFamilys(t *testing.T) {
	for family, name := range families {
		j, err := open(qwenvltest.Folder(t, name), askYesOrNo(t, `system = "The file's."`), Options{})
		if err != nil {
			t.Fatal(err)
		}
		s := reward.Sample{Prompt: "What is this?", Mode: reward.ModeGenerate, Continuation: reward.Continuation{System: "Mine.", ImageLast: true}}
		const want = "<|im_start|>system\nMine.<|im_end|>\n<|im_start|>user\nWhat is this?<|vision_start|><|image_pad|><|vision_end|><|im_end|>\n<|im_start|>assistant\n"
		if got := j.checkpoint.Tokenizer.Decode(j.chat(j.turnOf(&s), 1), false); got != want {
			t.Errorf("%s: %q, want %q", family, got, want)
		}
	}
}

func TestWhatIsTooLongToBeContinuedIsTheCallersError(t *testing.T) {
	j := loadJudge(t, qwenvltest.Folder(t, families[checkpoint.Qwen3VL]), askYesOrNo(t, ""), Options{PromptTokens: 20})
	good := reward.Sample{Image: qwenvltest.Pattern(40, 30), Prompt: "a cat", Mode: reward.ModeGenerate}
	good.Continuation.MaxNewTokens = 2
	for name, tt := range map[string]struct {
		change func(*reward.Sample)
		want   string
	}{
		"a long prompt":            {func(s *reward.Sample) { s.Prompt = strings.Repeat("a b ", 20) }, "the limit is 20"},
		"a long text of a system":  {func(s *reward.Sample) { s.Continuation.System = strings.Repeat("a b ", 20) }, "the limit is 20"},
		"more tokens than allowed": {func(s *reward.Sample) { s.Continuation.MaxNewTokens = maxGenerated + 1 }, "max_tokens: 4097, want at most 4096"},
	} {
		bad := good
		tt.change(&bad)
		results, err := j.Generate(t.Context(), []reward.Sample{good, bad})
		if err != nil {
			t.Fatal(err)
		}
		if !errors.Is(results[1].Err, reward.ErrInvalidValue) || !strings.Contains(results[1].Err.Error(), tt.want) || results[0].Err != nil {
			t.Errorf("%s: %v, its neighbour %v", name, results[1].Err, results[0].Err)
		}
	}
}

func TestStopTextsCutBetweenAndWithinTokens(t *testing.T) {
	j, err := open(qwenvltest.Folder(t, families[checkpoint.Qwen3VL]), askYesOrNo(t, ""), Options{})
	if err != nil {
		t.Fatal(err)
	}
	ids := j.checkpoint.Tokenizer.EncodeOrdinary("one two, three größe")
	for _, tt := range []struct {
		name string
		stop []string
		want string
		cut  bool
	}{
		{"none of them comes", []string{"four"}, "one two, three größe", false},
		{"no stop text", nil, "one two, three größe", false},
		{"the first to come and not the first named", []string{"three", "two"}, "one ", true},
		{"one within a token", []string{"wo"}, "one t", true},
		{"one over several tokens", []string{"o, thr"}, "one tw", true},
		{"what a letter of two bytes begins", []string{"ö"}, "one two, three gr", true},
	} {
		g := j.cut(ids, tt.stop)
		if g.Text != tt.want || g.Truncated == tt.cut {
			t.Errorf("%s: %+v, want %q", tt.name, g, tt.want)
		}
		if whole := j.checkpoint.Tokenizer.Decode(ids[:g.Tokens], true); tt.cut && (firstOf(whole, tt.stop) < 0 || firstOf(j.checkpoint.Tokenizer.Decode(ids[:g.Tokens-1], true), tt.stop) >= 0) {
			t.Errorf("%s: %d tokens are %q", tt.name, g.Tokens, whole)
		}
	}
	if ended := j.cut(append(slices.Clone(ids), j.config.EOSTokenIDs[0]), nil); ended.Truncated || ended.Tokens != len(ids)+1 {
		t.Errorf("with its end: %+v", ended)
	}
}
