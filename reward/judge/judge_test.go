package judge

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward"
)

func load(tb testing.TB, name string) *File {
	tb.Helper()
	f, err := Load(name)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

func TestEmbeddedFilesLoad(t *testing.T) {
	if want := []string{"sdg-detector", "unifiedreward-2", "yes-no"}; !slices.Equal(Names(), want) {
		t.Fatalf("got %v, want %v", Names(), want)
	}
	for _, name := range Names() {
		f := load(t, name)
		if f.Name != name || f.Source == "" || f.Doc == "" {
			t.Errorf("%s: name %q, source %q, doc %q", name, f.Name, f.Source, f.Doc)
		}
		if ask := f.Ask("a {prompt} in braces"); !strings.Contains(ask, "a {prompt} in braces") || strings.Count(ask, Placeholder) != 1 {
			t.Errorf("%s asks %q", name, ask)
		}
	}
}

// The formula is that of the published run: (0.8a + 0.1c + 0.1s) / 5.
func TestUnifiedRewardsAnswerIsItsThreeScores(t *testing.T) {
	f := load(t, "unifiedreward-2")
	about := f.Describe()
	weights, err := about.Weighting(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, text string
		reward     float64
		missing    []string
	}{
		{"as asked", "Alignment Score (1-5): 4\nCoherence Score (1-5): 3.5\nStyle Score (1-5): 2", (0.8*4 + 0.1*3.5 + 0.1*2) / 5, nil},
		{"with a full stop", "Alignment Score (1-5): 4.\nCoherence Score: 3\nStyle Score: 2", (0.8*4 + 0.1*3 + 0.1*2) / 5, nil},
		{"without a line", "Alignment Score (1-5): 4\nStyle Score (1-5): 2", (0.8*4 + 0.1*2) / 5, []string{"coherence"}},
		{"twice, of which the first counts", "Alignment Score: 4\nCoherence Score: 3\nStyle Score: 2\nAlignment Score: 1", (0.8*4 + 0.1*3 + 0.1*2) / 5, nil},
	} {
		r := f.Read(Answer{Text: c.text})
		if r.Err != nil || math.Abs(weights.Reward(r.Scores)-c.reward) > 1e-12 || !slices.Equal(r.Missing, c.missing) {
			t.Errorf("%s: reward %v, missing %v, %v; want %v, %v", c.name, weights.Reward(r.Scores), r.Missing, r.Err, c.reward, c.missing)
		}
		if err := about.Check(&r); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if r := f.Read(Answer{Text: "I cannot help with that."}); !errors.Is(r.Err, reward.ErrEvaluatorFailed) || !strings.Contains(r.Err.Error(), "none of alignment, coherence, style") {
		t.Errorf("an answer of something else: %v", r.Err)
	}
	if r := f.Read(Answer{Text: "Alignment Score (1-5): 4\nCoh", Truncated: true}); !errors.Is(r.Err, reward.ErrAnswerTruncated) || !strings.Contains(r.Err.Error(), "512 tokens") {
		t.Errorf("an answer that was cut off: %v", r.Err)
	}
}

// A number of another scale must not count as the 0 of a missing one.
func TestANumberThatIsNoScoreFailsItsSample(t *testing.T) {
	f := load(t, "unifiedreward-2")
	for name, number := range map[string]string{"beyond its range": "7", "below its range": "0.5", "no number": "...", "too many points": "1.2.3", "infinite": strings.Repeat("9", 400)} {
		r := f.Read(Answer{Text: "Alignment Score (1-5): " + number + "\nCoherence Score (1-5): 3\nStyle Score (1-5): 2"})
		if !errors.Is(r.Err, reward.ErrEvaluatorFailed) || !strings.Contains(r.Err.Error(), "score alignment") || r.Scores != nil {
			t.Errorf("%s: %v, %v", name, r.Scores, r.Err)
		}
	}
}

func TestBoxesAreReadOrTheirSampleFails(t *testing.T) {
	f := load(t, "sdg-detector")
	about := f.Describe()
	for _, c := range []struct {
		name, text string
		want       []reward.Box
		fault      string
	}{
		{"two boxes", "<think>a [list] here</think><answer>\n[{\"box_2d\": [10, 20, 300, 400], \"label\": \"artifact\", \"description\": \"x\", \"importance\": 70}," +
			" {\"box_2d\": [0,0,1000,1000], \"label\": \"misalignment\"}]\n</answer>",
			[]reward.Box{{Coords: [4]float64{10, 20, 300, 400}, Label: "artifact", Importance: 70}, {Coords: [4]float64{0, 0, 1000, 1000}, Label: "misalignment", Importance: 100}}, ""},
		{"none", "<think></think><answer>[]</answer>", []reward.Box{}, ""},
		{"corners the wrong way round and beyond the image", `<answer>[{"box_2d": [1200, 30, 5, -2]}]</answer>`,
			[]reward.Box{{Coords: [4]float64{5, 0, 1000, 30}, Importance: 100}}, ""},
		{"no block", `[{"box_2d": [1,2,3,4]}]`, nil, "no block"},
		{"no list", `<answer>none</answer>`, nil, "no list"},
		{"broken JSON", `<answer>[{"box_2d": [1,2,3]</answer>`, nil, "cannot be read"},
		{"three numbers", `<answer>[{"box_2d": [1,2,3]}]</answer>`, nil, "box 0"},
		{"null for a number", `<answer>[{"box_2d": [null,2,3,4]}]</answer>`, nil, "box 0"},
		{"an importance beyond its range", `<answer>[{"box_2d": [1,2,3,4], "importance": 170}]</answer>`, nil, "importance"},
		{"a number for a label", `<answer>[{"box_2d": [1,2,3,4], "label": 7}]</answer>`, nil, "label"},
		{"no objects", `<answer>[1, 2]</answer>`, nil, "cannot be read"},
	} {
		r := f.Read(Answer{Text: c.text})
		if c.fault != "" {
			if !errors.Is(r.Err, reward.ErrEvaluatorFailed) || !strings.Contains(r.Err.Error(), c.fault) {
				t.Errorf("%s: error %v does not say %q", c.name, r.Err, c.fault)
			}
			continue
		}
		if r.Err != nil || !reflect.DeepEqual(r.Boxes, c.want) {
			t.Errorf("%s: %v, %v, want %v", c.name, r.Boxes, r.Err, c.want)
		}
		if err := about.Check(&r); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestAProbabilityIsThatOfItsTokens(t *testing.T) {
	f := load(t, "yes-no")
	if r := f.Read(Answer{First: map[string]float64{"Yes": 0.7, "No": 0.2}}); r.Scores[0] != 0.7 {
		t.Errorf("got %v, want 0.7", r.Scores)
	}
	if r := f.Read(Answer{Text: "Yes"}); !errors.Is(r.Err, reward.ErrEvaluatorFailed) || !strings.Contains(r.Err.Error(), "none of vqascore") {
		t.Errorf("without probabilities: %v", r.Err)
	}
	p := Token{Tokens: []string{"Yes", " Yes"}, Against: []string{"No"}}
	if v, ok, err := p.find(map[string]float64{"Yes": 0.3, " Yes": 0.3, "No": 0.2}); !ok || err != nil || math.Abs(v-0.75) > 1e-12 {
		t.Errorf("against No: %v, %v, %v", v, ok, err)
	}
	if _, ok, err := p.find(map[string]float64{"Maybe": 1}); ok || err != nil {
		t.Errorf("neither of the tokens, and yet a share or an error: %v", err)
	}
	for name, first := range map[string]map[string]float64{
		"NaN": {"Yes": math.NaN()}, "NaN of the others": {"Yes": 0.5, "No": math.NaN()}, "infinite": {"Yes": math.Inf(1)},
		"more than 1": {"Yes": 0.9, " Yes": 0.9}, "below 0": {"Yes": -0.1},
	} {
		if _, _, err := p.find(first); !errors.Is(err, reward.ErrEvaluatorFailed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

const minimal = "name = \"a\"\nprompt = \"{prompt}\"\n[[score]]\nname = \"s\"\npattern = '(\\d)'\nmin = 0\nmax = 9\nweight = 1\n"

func TestFilesThatCannotBeUsedAreRefusedByKey(t *testing.T) {
	if _, err := Parse([]byte(minimal)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, old, now, want string }{
		{"an unknown key", `prompt =`, "promt = \"\"\nprompt =", "promt"},
		{"no name", `name = "a"`, `name = ""`, "name"},
		{"a prompt without a place", `"{prompt}"`, `"caption"`, "prompt"},
		{"a pattern without a group", `(\d)`, `\d`, "group"},
		{"a pattern that is none", `(\d)`, `(`, "pattern"},
		{"no range", `max = 9`, `max = 0`, "range"},
		{"an image without a height", `name = "a"`, "name = \"a\"\nimage_size = [5]", "image_size"},
		{"an image of nothing", `name = "a"`, "name = \"a\"\nimage_size = [5, 0]", "image_size"},
		{"tokens below none", `name = "a"`, "name = \"a\"\nmax_new_tokens = -1", "max_new_tokens"},
		{"a score without a name", `name = "s"`, `name = ""`, "name"},
		{"boxes in an order that is none", `weight = 1`, "weight = 1\n[boxes]\norder = \"xywh\"", "order"},
		{"a probability of nothing", `weight = 1`, "weight = 1\n[probability]\nname = \"p\"", "tokens"},
		{"no TOML", `name = "a"`, `name`, "expected"},
	} {
		changed := strings.Replace(minimal, c.old, c.now, 1)
		if _, err := Parse([]byte(changed)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v does not say %q", c.name, err, c.want)
		}
	}
}

func TestAFileLoadsFromItsPathAndAMissingOneNamesTheEmbedded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mine.toml")
	if err := os.WriteFile(path, []byte(minimal), 0o600); err != nil {
		t.Fatal(err)
	}
	if f := load(t, path); f.Name != "a" || f.MaxNewTokens != defaultNewTokens {
		t.Errorf("got %+v", f)
	}
	if _, err := Load("nobody"); err == nil || !strings.Contains(err.Error(), "unifiedreward-2") {
		t.Errorf("error %v does not name the embedded files", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add("Alignment Score (1-5): 4", `<answer>[{"box_2d": [1,2,3,4], "importance": 1e400}]</answer>`)
	f.Add("", "<answer>[[[]]]</answer>")
	scores, boxes := load(f, "unifiedreward-2"), load(f, "sdg-detector")
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, c := range []struct {
			file *File
			text string
		}{{scores, a}, {boxes, b}} {
			about, r := c.file.Describe(), c.file.Read(Answer{Text: c.text})
			if r.Err != nil {
				continue
			}
			if err := about.Check(&r); err != nil {
				t.Errorf("%q: %v", c.text, err)
			}
		}
	})
}
