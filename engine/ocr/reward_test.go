package ocr

import (
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward"
)

// lineOf is a line of text across the upper half of an image of 100 by 100 pixels, its
// characters evenly spread.
func lineOf(text string) Line {
	l := Line{Text: text, Score: 1, Corners: [4][2]float64{{0, 0}, {100, 0}, {100, 50}, {0, 50}}}
	n := float64(len([]rune(text)))
	for i := range []rune(text) {
		l.At = append(l.At, (float64(i)+0.5)/n)
	}
	return l
}

// testdata/rewards.py computed the rewards with flow_grpo's formula.
func TestRewardsAreFlowGRPOs(t *testing.T) {
	data, err := os.ReadFile("testdata/rewards.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Prompt   string
		Lines    []string
		Reward   float64
		Distance int
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		wanted, err := target(&reward.Sample{Prompt: c.Prompt})
		if err != nil {
			t.Errorf("%s: %v", c.Prompt, err)
			continue
		}
		var lines []Line
		for _, text := range c.Lines {
			lines = append(lines, lineOf(text))
		}
		r := result(lines, wanted, &reward.Image{Width: 100, Height: 100})
		if math.Abs(r.Scores[0]-c.Reward) > 1e-12 {
			t.Errorf("%s, read %q: %v, want %v", c.Prompt, c.Lines, r.Scores[0], c.Reward)
		}
		marked := false
		for _, v := range r.Maps[0].Data {
			marked = marked || v > 0
		}
		if anything := strings.TrimSpace(strings.Join(c.Lines, "")) != ""; marked != (c.Distance > 0 && anything) {
			t.Errorf("%s, read %q, distance %d: marked %v", c.Prompt, c.Lines, c.Distance, marked)
		}
	}
}

func TestWhatDiffersIsMarkedWhereItStands(t *testing.T) {
	for _, c := range []struct {
		name, target, read string
		from, to           float64 // in shares of the line; none where equal
	}{
		{"a character that was replaced", "stop", "stap", 0.5, 0.75},
		{"a character too many", "stop", "stoop", 0.4, 0.8}, // either o
		{"characters too few, between their neighbours", "stoop", "stp", 1.5 / 3, 2.5 / 3},
		{"the text itself", "stop", "stop", 0, 0},
		{"the text among other text", "stop", "dontstophere", 0, 0},
		{"another text altogether", "ab", "vwxyz", 0, 1},
	} {
		r := result([]Line{lineOf(c.read)}, []rune(c.target), &reward.Image{Width: 100, Height: 100})
		left, right := mapSide, 0
		for i, v := range r.Maps[0].Data {
			if v > 0 {
				left, right = min(left, i%mapSide), max(right, i%mapSide+1)
				if i/mapSide >= mapSide/2 {
					t.Errorf("%s: row %d is marked, below the line", c.name, i/mapSide)
				}
			}
		}
		if c.from == c.to {
			if right > 0 || len(r.Boxes) > 0 {
				t.Errorf("%s: marked from %d to %d", c.name, left, right)
			}
			continue
		}
		cell := 1.0 / mapSide
		if got := float64(left) * cell; got < c.from-cell {
			t.Errorf("%s: marked from %v, want %v", c.name, got, c.from)
		}
		if got := float64(right) * cell; got > c.to+cell || right == 0 {
			t.Errorf("%s: marked to %v, want %v", c.name, got, c.to)
		}
		if len(r.Boxes) == 0 {
			t.Errorf("%s: no boxes", c.name)
		}
	}
}

func TestPromptsWithoutATextAreTheirSamplesError(t *testing.T) {
	for _, c := range []struct {
		name string
		s    reward.Sample
		want string // "" for none
	}{
		{"no quotes", reward.Sample{Prompt: "a sign"}, "prompt"},
		{"curly quotes, which flow_grpo does not split at", reward.Sample{Prompt: "a sign that says “stop”"}, "prompt"},
		{"single quotes", reward.Sample{Prompt: "a sign that says 'stop'"}, "prompt"},
		{"an empty pair before another", reward.Sample{Prompt: `"" and "stop"`}, "prompt"},
		{"curly quotes within straight ones", reward.Sample{Prompt: "says \"“stop”\""}, ""},
		{"nothing between them", reward.Sample{Prompt: `a sign that says ""`}, "prompt"},
		{"spaces between them", reward.Sample{Prompt: `a sign that says "  "`}, "prompt"},
		{"too much between them", reward.Sample{Prompt: `"` + strings.Repeat("a", maxTarget+1) + `"`}, "limit 1024"},
		{"metadata that is no text", reward.Sample{Prompt: `"a"`, Metadata: map[string]any{"text": 7}}, "metadata"},
		{"empty metadata", reward.Sample{Prompt: `"a"`, Metadata: map[string]any{"text": ""}}, "metadata"},
		{"one quote, as Python's split has it", reward.Sample{Prompt: `says "stop`}, ""},
		{"metadata in place of the prompt", reward.Sample{Prompt: "a sign", Metadata: map[string]any{"text": "stop"}}, ""},
	} {
		_, err := target(&c.s)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error %v, want %q in it", c.name, err, c.want)
		}
	}
}
