package imagedoctor

import (
	"math"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/qwenvl/qwenvltest"
	"github.com/denseflow/densereward/reward"
)

// answersFile is testdata/answers.json: what the public scorer makes of texts
// and captions.
type answersFile struct {
	Texts    []string  `json:"texts"`
	Combined []float64 `json:"combined"` // float32 values
	Scores   struct {
		SemanticAlignment []float64 `json:"semantic_alignment"`
		Aesthetic         []float64 `json:"aesthetic"`
		Plausibility      []float64 `json:"plausibility"`
		Overall           []float64 `json:"overall"`
	} `json:"scores"`
	Prompts []string `json:"prompts"`
	Cleaned []string `json:"cleaned"`
}

func loadAnswers(t testing.TB) answersFile {
	t.Helper()
	var answers answersFile
	qwenvltest.ReadJSON(t, "testdata/answers.json", &answers)
	if len(answers.Texts) != 20 || len(answers.Prompts) != 13 {
		t.Fatalf("answers.json has %d texts and %d prompts, not 20 and 13", len(answers.Texts), len(answers.Prompts))
	}
	return answers
}

func TestScoresAreThoseOfThePublicScorer(t *testing.T) {
	answers := loadAnswers(t)
	for i, text := range answers.Texts {
		want := Scores{
			SemanticAlignment: answers.Scores.SemanticAlignment[i],
			Aesthetics:        answers.Scores.Aesthetic[i],
			Plausibility:      answers.Scores.Plausibility[i],
			Overall:           answers.Scores.Overall[i],
		}
		got, missing := ParseAnswer(text)
		if got != want {
			t.Errorf("text %d: scores %v, want %v\n%s", i, got, want, text)
		}
		for s, isMissing := range missing {
			if isMissing && got[s] != 0 {
				t.Errorf("text %d: %v is missing and not 0", i, Score(s))
			}
		}
	}
}

// The public scorer combines in float32, from the left. Doing so gives its
// rewards exactly; the default weights in float64 must agree to within a
// rounding of float32 in each of its steps.
func TestRewardsAreThoseOfThePublicScorer(t *testing.T) {
	answers := loadAnswers(t)
	about := reward.Description{Scores: scoreSpecs()}
	weights, err := about.Weighting(nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range answers.Texts {
		scores, _ := ParseAnswer(text)
		single := float32(float32(scores[SemanticAlignment])*0.8) +
			float32(float32(scores[Aesthetics])*0.1) +
			float32(float32(scores[Plausibility])*0.1)
		if float64(single) != answers.Combined[i] {
			t.Errorf("text %d: reward %v in float32, want %v", i, single, answers.Combined[i])
		}
		double := weights.Reward(scores[:])
		if difference := math.Abs(double - answers.Combined[i]); difference > 1e-7 {
			t.Errorf("text %d: reward %v, want %v: %v off", i, double, answers.Combined[i], difference)
		}
	}
}

// The expected scores are what Python's re and float give for the public
// scorer's expressions; -1 stands for a missing score.
func TestScoresAreReadAsPythonDoes(t *testing.T) {
	const none = -1
	for name, test := range map[string]struct {
		text string
		want Scores
	}{
		"dotted capital i":               {"AESTHETİC score: 0.5", Scores{none, 0.5, none, none}},
		"dotless i and long s":           {"aesthetıc ſcore: 0.5", Scores{none, 0.5, none, none}},
		"long s in the tag":              {"<anſwer>Aesthetic score: .1</answer>Plausibility score: .2", Scores{none, 0.1, none, none}},
		"all of them, over lines":        {"OVERALL\nİMPREſſİON SCORE:\t.125", Scores{none, none, none, 0.125}},
		"full-width digits":              {"Aesthetic score: ０.７５", Scores{none, 0.75, none, none}},
		"Arabic digits above the limit":  {"Aesthetic score: ١.٥", Scores{none, 1, none, none}},
		"mathematical digits":            {"Aesthetic score: 𝟘.𝟥", Scores{none, 0.3, none, none}},
		"separators as white space":      {"Aesthetic\x1cscore\u0085:\u20000.5", Scores{none, 0.5, none, none}},
		"no space within the label":      {"SemanticAlignment score: .25", Scores{0.25, none, none, none}},
		"zero-width space in the label":  {"Aesthetic\u200bscore: 1", Scores{none, none, none, none}},
		"exponent without digits":        {"Aesthetic score: 0.5e", Scores{none, 0.5, none, none}},
		"sign without digits":            {"Aesthetic score: -", Scores{none, none, none, none}},
		"two signs":                      {"Aesthetic score: --0.5", Scores{none, none, none, none}},
		"point without digits":           {"Aesthetic score: .", Scores{none, none, none, none}},
		"negative overflow":              {"Aesthetic score: -1e400", Scores{none, 0, none, none}},
		"underflow":                      {"Aesthetic score: 1e-400", Scores{none, 0, none, none}},
		"digits grouped by underscores":  {"Aesthetic score: 1_000", Scores{none, 1, none, none}},
		"hexadecimal stops at the x":     {"Aesthetic score: 0x1p-2", Scores{none, 0, none, none}},
		"the word inf":                   {"Aesthetic score: inf", Scores{none, none, none, none}},
		"a range":                        {"Aesthetic score: 0.5-0.2", Scores{none, 0.5, none, none}},
		"an answer without an end":       {"<answer>Plausibility score: 0.25", Scores{none, none, 0.25, none}},
		"a text that begins in the tags": {"Plausibility score: 0.25</answer><|im_end|>", Scores{none, none, 0.25, none}},
	} {
		t.Run(name, func(t *testing.T) {
			got, missing := ParseAnswer(test.text)
			for s, want := range test.want {
				if missing[s] != (want == none) || got[s] != max(0, want) {
					t.Errorf("%v is %v (missing: %v), want %v", Score(s), got[s], missing[s], want)
				}
			}
		})
	}
}

func TestEveryDecimalDigitHasItsValue(t *testing.T) {
	// The first digit of each script that a model is at all likely to write,
	// and the mathematical ones, which adjoin.
	for _, zero := range []rune{'0', '٠', '۰', '०', '০', '๐', '０', '𝟎', '𝟘', '𝟢', '𝟬', '𝟶'} {
		for value := range rune(10) {
			if got := digit(zero + value); got != '0'+value {
				t.Errorf("digit(%U) is %q, want %q", zero+value, got, '0'+value)
			}
		}
	}
}

func FuzzParseAnswer(f *testing.F) {
	for _, text := range loadAnswers(f).Texts {
		f.Add(text)
	}
	f.Add("<think>1.[10,20,300,400];\n2.[0,0,512,512]</think><answer>aesthetıc ſcore: ٠.٥</answer>")
	f.Add(`<answer>[{"box_2d": [1, 2, 30, 40], "label": "artifact", "importance": 70}]</answer>`)
	f.Fuzz(func(t *testing.T, text string) {
		scores, missing := ParseAnswer(text)
		for s, score := range scores {
			if !(score >= 0 && score <= 1) || missing[s] && score != 0 {
				t.Errorf("%v is %v, missing %v", Score(s), score, missing[s])
			}
		}
		for _, box := range ParseBoxes(text) {
			c := box.Coords
			if !(0 <= c[0] && c[0] < c[2] && c[2] <= 1000 && 0 <= c[1] && c[1] < c[3] && c[3] <= 1000) {
				t.Errorf("box %v is not within the image", c)
			}
			if !(box.Importance >= 0 && box.Importance <= 100) {
				t.Errorf("importance %v", box.Importance)
			}
		}
		if cleaned := CleanCaption(text); CleanCaption(cleaned) != cleaned {
			t.Errorf("cleaning %q twice changes it", cleaned)
		}
	})
}

// A think answer has up to some 2,000 tokens, 8 KB: 0.2 ms with its boxes.
func BenchmarkParseThought(b *testing.B) {
	text := "<think>" + strings.Repeat("The hand at [10,20,30,40] has six fingers; its plausibility is poor. ", 110) +
		"</think>\n" + loadAnswers(b).Texts[0]
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		ParseAnswer(text)
		ParseBoxes(text)
	}
}

func BenchmarkParseAnswer(b *testing.B) {
	text := loadAnswers(b).Texts[0]
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		ParseAnswer(text)
	}
}
