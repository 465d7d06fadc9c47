package evaluator

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/ort/orttest"
	"github.com/denseflow/densereward/engine/qwenvl"
	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
	"github.com/denseflow/densereward/engine/qwenvl/qwenvltest"
	"github.com/denseflow/densereward/internal/numtest"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/judge"
	"github.com/denseflow/densereward/reward/rewardtest"
)

// families are the miniatures of testdata.
var families = map[checkpoint.Family]string{checkpoint.Qwen25VL: "../testdata/qwen25vl-nano", checkpoint.Qwen3VL: "../testdata/qwen3vl-nano"}

// askYesOrNo is a judge file that gives the probability of a token.
func askYesOrNo(t testing.TB, more string) *judge.File {
	t.Helper()
	file, err := judge.Parse([]byte(`
name = "ask"
prompt = "Does this show {prompt}? Yes or no."
max_new_tokens = 24
` + more + `
[probability]
name = "yes"
tokens = ["e"]
weight = 1
`))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func loadJudge(t testing.TB, dir string, file *judge.File, o Options) *Judge {
	t.Helper()
	j, err := Load(orttest.Open(t), dir, file, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Errorf("closing a judge: %v", err)
		}
	})
	return j
}

func judgeCases(t testing.TB, name string) (cases []qwenvltest.Case, logits []float32, samples []reward.Sample) {
	t.Helper()
	cases, logits = qwenvltest.Cases(t, name)
	for _, c := range cases {
		samples = append(samples, c.Sample())
	}
	return cases, logits, samples
}

func TestJudgesAnswerAsTransformersDoes(t *testing.T) {
	for family, name := range families {
		t.Run(string(family), func(t *testing.T) {
			j := loadJudge(t, qwenvltest.Folder(t, name), askYesOrNo(t, ""), Options{})
			if j.config.Family != family {
				t.Fatalf("read as %s", j.config.Family)
			}
			cases, logits, samples := judgeCases(t, name)
			var prompts []qwenvl.Prompt
			for i, c := range cases {
				if err := j.Prepare(t.Context(), &samples[i]); err != nil {
					t.Fatal(err)
				}
				p := samples[i].Prepared.(*asked).Prompt
				prompts = append(prompts, p)
				if !slices.Equal(p.IDs, c.InputIDs) {
					t.Errorf("case %d: ids %v, want %v", i, p.IDs, c.InputIDs)
				}
				asTheProcessors(t, j.config, c, p.Images[0])
			}
			// All shapes in one batch, and each by itself.
			asTransformers(t, "together", j, prompts, cases, logits)
			// What is drafted from answers changes none.
			for _, c := range cases {
				j.drafts.Learn(c.GeneratedIDs)
			}
			asTransformers(t, "together, drafted", j, prompts, cases, logits)
			size := len(logits) / len(cases)
			for i := range cases {
				asTransformers(t, fmt.Sprintf("case %d alone", i), j, prompts[i:i+1], cases[i:i+1], logits[i*size:(i+1)*size])
			}
		})
	}
}

// asTheProcessors holds the resized image against the processor's patches, byte for
// byte, before they are normalised.
func asTheProcessors(t *testing.T, c checkpoint.Config, want qwenvltest.Case, image *reward.Image) {
	t.Helper()
	grid := c.Grid(image)
	if got := [2]int{grid.Rows * c.Vision.SpatialMergeSize, grid.Cols * c.Vision.SpatialMergeSize}; got != want.Grid {
		t.Errorf("%dx%d: a grid of %v, want %v", want.Width, want.Height, got, want.Grid)
		return
	}
	size := c.Vision.PatchPixels() * c.Vision.UnitPatches()
	cut := make([]byte, grid.Units()*size)
	for row := range grid.Rows {
		for col := range grid.Cols {
			c.Vision.CutUnit(cut[(row*grid.Cols+col)*size:], image, row, col)
		}
	}
	if sum := fmt.Sprintf("%x", sha256.Sum256(cut)); sum != want.PixelsSHA256 {
		t.Errorf("%dx%d: other pixels than the processor's", want.Width, want.Height)
	}
}

// asTransformers holds a batch's answers and the logits behind its prompts against
// the reference's.
func asTransformers(t *testing.T, what string, j *Judge, prompts []qwenvl.Prompt, cases []qwenvltest.Case, logits []float32) {
	t.Helper()
	b := qwenvl.Batch{Prompts: prompts, MaxNewTokens: j.file.MaxNewTokens, Penalty: 1, Draft: j.drafts.Machine()}
	out, err := j.session.Run(t.Context(), b.Inputs(j.config))
	if err != nil {
		t.Fatal(err)
	}
	if d := numtest.Compare(out[outputFirst].Float32s(), logits); d.Rel > 1e-4 {
		t.Errorf("%s: logits: %v", what, d)
	}
	for i, c := range cases {
		if got := qwenvl.AnswerIDs(&j.config, out[outputAnswer], i); !slices.Equal(got, c.GeneratedIDs) {
			t.Errorf("%s: case %d generated %v\nwant %v", what, i, got, c.GeneratedIDs)
		}
	}
}

func TestTheProbabilityIsThatOfTheSoftmax(t *testing.T) {
	for family, name := range families {
		j := loadJudge(t, qwenvltest.Folder(t, name), askYesOrNo(t, ""), Options{MaxBatch: 2})
		cases, logits, samples := judgeCases(t, name)
		results, err := j.Evaluate(t.Context(), samples)
		if err != nil {
			t.Fatal(err)
		}
		id := j.tokens["e"]
		size := len(logits) / len(cases)
		for i, r := range results {
			sum := 0.0
			for _, v := range logits[i*size : (i+1)*size] {
				sum += math.Exp(float64(v))
			}
			want := math.Exp(float64(logits[i*size+int(id)])) / sum
			if r.Err != nil || len(r.Scores) != 1 || math.Abs(r.Scores[0]-want) > 1e-4*want {
				t.Errorf("%s, case %d: scores %v, want %v, error %v", family, i, r.Scores, want, r.Err)
			}
			if !slices.Equal(r.Trace.GeneratedIDs, cases[i].GeneratedIDs) {
				t.Errorf("%s, case %d: generated %v", family, i, r.Trace.GeneratedIDs)
			}
		}
	}
}

func TestJudgesAreEvaluators(t *testing.T) {
	for family, name := range families {
		t.Run(string(family), func(t *testing.T) {
			j := loadJudge(t, qwenvltest.Folder(t, name), askYesOrNo(t, ""), Options{})
			rewardtest.Run(t, func() reward.Evaluator { return j })
		})
	}
}

func TestAJudgesErrorsAreItsCallers(t *testing.T) {
	j := loadJudge(t, qwenvltest.Folder(t, families[checkpoint.Qwen3VL]), askYesOrNo(t, `image_size = [64, 64]`), Options{PromptTokens: 20})
	good := reward.Sample{Image: qwenvltest.Pattern(40, 30), Prompt: "a cat"}
	for name, test := range map[string]struct {
		bad  reward.Sample
		want *reward.Error
		text string
	}{
		"no image":           {reward.Sample{Prompt: "a"}, reward.ErrInvalidValue, "image"},
		"a long prompt":      {reward.Sample{Prompt: strings.Repeat("a b ", 20), Image: good.Image}, reward.ErrInvalidValue, "41 tokens, the limit is 20"},
		"a mode of its own":  {reward.Sample{Prompt: "a", Image: good.Image, Mode: "guess"}, reward.ErrUnsupportedMode, `"guess"`},
		"a mode that thinks": {reward.Sample{Prompt: "a", Image: good.Image, Mode: reward.ModeThink}, reward.ErrUnsupportedMode, "think"},
	} {
		results, err := j.Evaluate(t.Context(), []reward.Sample{good, test.bad})
		if err != nil {
			t.Fatal(err)
		}
		if !errors.Is(results[1].Err, test.want) || !strings.Contains(results[1].Err.Error(), test.text) {
			t.Errorf("%s: %v", name, results[1].Err)
		}
		if results[0].Err != nil || len(results[0].Trace.InputIDs) == 0 {
			t.Errorf("%s: its neighbour: %+v", name, results[0])
		}
	}
	if d := j.Describe(); d.PromptTokens != 20 || d.Kind != Kind || d.Name != "ask" {
		t.Errorf("%+v", d)
	}
}

// A text cannot end its turn, and an image may stand behind it.
func TestTheChatIsTheFamilys(t *testing.T) {
	for family, name := range families {
		dir := qwenvltest.Folder(t, name)
		for what, test := range map[string]struct{ more, want string }{
			"as it is":       {"", "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Does this show a <|im_end|>? Yes or no.<|im_end|>\n<|im_start|>assistant\n"},
			"the image last": {"image_last = true", "<|im_start|>user\nDoes this show a <|im_end|>? Yes or no.<|vision_start|><|image_pad|><|vision_end|><|im_end|>\n<|im_start|>assistant\n"},
			"a system text":  {`system = "Be strict."`, "<|im_start|>system\nBe strict.<|im_end|>\n<|im_start|>user\n"},
		} {
			j, err := open(dir, askYesOrNo(t, test.more), Options{})
			if err != nil {
				t.Fatal(err)
			}
			ids := j.chat(j.turnOf(&reward.Sample{Prompt: "a <|im_end|>"}), 1)
			got := j.checkpoint.Tokenizer.Decode(ids, false)
			system := "<|im_start|>system\n" + defaultSystem + "<|im_end|>\n"
			if strings.Contains(test.more, "system") {
				if !strings.HasPrefix(got, test.want) {
					t.Errorf("%s, %s: %q", family, what, got)
				}
				continue
			}
			if family == checkpoint.Qwen25VL {
				test.want = system + test.want
			}
			if got != test.want {
				t.Errorf("%s, %s: %q, want %q", family, what, got, test.want)
			}
			if n := len(slices.DeleteFunc(slices.Clone(ids), func(id int32) bool { return id != 1458 })); n > 2 {
				t.Errorf("%s, %s: %d ends of turns", family, what, n)
			}
		}
	}
}

func TestJudgesThatCannotBeAreRefused(t *testing.T) {
	dir := qwenvltest.Folder(t, families[checkpoint.Qwen3VL])
	words, err := judge.Parse([]byte("name = \"w\"\nprompt = \"{prompt}\"\n[probability]\nname = \"p\"\ntokens = [\"Unquestionably\"]\n"))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		file *judge.File
		o    Options
		want string
	}{
		"a word of several tokens":     {words, Options{}, `"Unquestionably" is`},
		"a penalty that is no number":  {askYesOrNo(t, ""), Options{RepetitionPenalty: math.NaN()}, "repetition penalty NaN"},
		"a batch of less than nothing": {askYesOrNo(t, ""), Options{MaxBatch: -1}, "batch: -1"},
	} {
		if _, err := open(dir, test.file, test.o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
