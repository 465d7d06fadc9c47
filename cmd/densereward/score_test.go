package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/denseflow/densereward/cmd/densereward/demo"
	"github.com/denseflow/densereward/engine/imagedoctor/pocket"
	"github.com/denseflow/densereward/reward"
)

// refCase is what the reference computes for one image.
type refCase struct {
	Name         string  `json:"name"`
	Prompt       string  `json:"prompt"`
	InputIDs     []int32 `json:"input_ids"`
	GeneratedIDs []int32 `json:"generated_ids"`
	Text         string  `json:"text"`
}

func readCases(t *testing.T, file string) []refCase {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(casesDir, file))
	if err != nil {
		t.Fatal(err)
	}
	var cases []refCase
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) == 0 {
		t.Fatalf("%s holds no case", file)
	}
	return cases
}

func TestScoreSaysWhatTheReferenceSays(t *testing.T) {
	for name, c := range map[string]struct {
		file  string
		flags []string
	}{
		"without a penalty": {"cases.json", nil},
		"with a penalty":    {"penalty.json", []string{"-repetition-penalty", "1.05"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, want := range readCases(t, c.file)[:1] { // engine/imagedoctor has them all
				args := []string{"score", "-threads", "1", "-model", nanoDir, "-prompt", want.Prompt, "-prefix", "", "-trace"}
				args = append(append(args, c.flags...), filepath.Join(casesDir, want.Name+".png"))
				code, out, said := densereward(t, args...)
				if code != exitOK || said != "" {
					t.Fatalf("%s: exit code %d, said %q", want.Name, code, said)
				}
				got := lines[record](t, out)[0]
				if want.InputIDs != nil && !slices.Equal(got.Trace.InputIDs, want.InputIDs) {
					t.Errorf("%s: other input ids", want.Name)
				}
				if !slices.Equal(got.Trace.GeneratedIDs, want.GeneratedIDs) || got.Text != want.Text {
					t.Errorf("%s: generated %q, want %q", want.Name, got.Text, want.Text)
				}
			}
		})
	}
}

func TestALineHasItsKeysInOrder(t *testing.T) {
	_, out, _ := densereward(t, "score", "-threads", "1", "-model", nanoDir, "-prompt", demo.Prompts()[0], "-trace", demoImages()[0])
	decoder := json.NewDecoder(strings.NewReader(out))
	var keys []string
	depth := 0
	for token, err := decoder.Token(); err == nil; token, err = decoder.Token() {
		switch v := token.(type) {
		case json.Delim:
			if v == '{' || v == '[' {
				depth++
			} else {
				depth--
			}
		case string:
			keys = append(keys, v)
		}
	}
	if depth != 0 {
		t.Fatalf("not an object: %s", out)
	}
	want := []string{"image", "scores", "semantic_alignment", "aesthetics", "plausibility", "overall",
		"missing", "reward", "text", "boxes", "trace", "input_ids", "generated_ids"}
	keys = slices.DeleteFunc(keys, func(k string) bool { return !slices.Contains(want, k) })
	if !slices.Equal(keys, want) {
		t.Errorf("keys %q, want %q", keys, want)
	}
	if strings.Count(out, "\n") != 1 || !strings.Contains(out, "<answer>") {
		t.Errorf("not one line of plain text: %s", out)
	}
}

func TestRewardAndMissingFollowTheScores(t *testing.T) {
	images := demoImages()[:2]
	_, out, _ := densereward(t, append([]string{"score", "-threads", "1", "-prompt", demo.Prompts()[0]}, images...)...)
	got := lines[record](t, out)
	if len(got) != len(images) {
		t.Fatalf("%d lines for %d images", len(got), len(images))
	}
	for i, r := range got {
		var s []float64
		for _, one := range r.Scores {
			s = append(s, one.value)
		}
		if want := (reward.Weighting{Scores: []float64{0.8, 0.1, 0.1, 0}}).Reward(s); r.Reward != want || want == 0 {
			t.Errorf("%s: reward %v for %v, want %v", r.Image, r.Reward, s, want)
		}
		if r.Image != demoImages()[i] || len(r.Missing) != 0 || r.Missing == nil || r.Boxes == nil || r.Trace != nil {
			t.Errorf("line %d is %+v", i, r)
		}
	}
}

func TestWithoutAModelItSaysWhatAnswers(t *testing.T) {
	code, out, said := densereward(t, "score", "-prompt", demo.Prompts()[0], demoImages()[0])
	if code != exitOK || out == "" {
		t.Errorf("exit code %d, output %q", code, out)
	}
	if strings.Count(said, "\n") != 1 || !strings.Contains(said, pocket.Note) {
		t.Errorf("said %q", said)
	}
}

func TestThinkingHasItsOwnPromptAndHasNoAnswerPrefix(t *testing.T) {
	ask := func(mode string) record {
		code, out, said := densereward(t, "score", "-threads", "1", "-model", nanoDir, "-mode", mode, "-max-new-tokens", "100",
			"-prompt", demo.Prompts()[0], "-trace", demoImages()[0])
		if code != exitOK {
			t.Fatalf("exit code %d, said %q", code, said)
		}
		return lines[record](t, out)[0]
	}
	answered, thought := ask("answer"), ask("think")
	const prefix = "<think>\n...</think>\n<answer>"
	if !strings.HasPrefix(answered.Text, prefix) || strings.HasPrefix(thought.Text, prefix) {
		t.Errorf("answered %q, thought %q", answered.Text, thought.Text)
	}
	if slices.Equal(answered.Trace.InputIDs, thought.Trace.InputIDs) || len(thought.Trace.GeneratedIDs) > 100 {
		t.Errorf("%d tokens generated from %v; answered from %v", len(thought.Trace.GeneratedIDs), thought.Trace.InputIDs, answered.Trace.InputIDs)
	}
}

func TestOneBadImageCostsTheOthersNothing(t *testing.T) {
	dir := t.TempDir()
	cut := filepath.Join(dir, "cut.png")
	whole, err := os.ReadFile(demoImages()[0])
	if err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(dir, "text.png")
	for path, data := range map[string][]byte{cut: whole[:len(whole)/2], text: []byte("no image")} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	images := []string{demoImages()[0], cut, demoImages()[1], filepath.Join(dir, "none.png"), text, dir, demoImages()[2]}
	bad := []string{images[1], images[3], images[4], images[5]}

	code, out, said := densereward(t, append([]string{"score", "-threads", "1", "-model", nanoDir, "-batch", "2", "-prompt", demo.Prompts()[0]}, images...)...)
	if code != exitPartial || !strings.Contains(said, "4 of 7") {
		t.Errorf("exit code %d, said %q; want %d", code, said, exitPartial)
	}
	for i, line := range strings.Split(strings.TrimSpace(out), "\n") {
		if !slices.Contains(bad, images[i]) {
			if got := lines[record](t, line)[0]; got.Image != images[i] || got.Reward == 0 {
				t.Errorf("line %d is %s", i, line)
			}
			continue
		}
		if got := lines[failure](t, line)[0]; got.Image != images[i] || got.Error == "" {
			t.Errorf("line %d is %s", i, line)
		}
		if !strings.Contains(said, "densereward: "+images[i]+": ") {
			t.Errorf("nothing was said about %s in %q", images[i], said)
		}
	}
}

func TestHowItRunsDoesNotChangeLines(t *testing.T) {
	images := demoImages()[:3]
	args := append([]string{"score", "-threads", "1", "-model", smallDir, "-prompt", demo.Prompts()[1], "-trace"}, images...)
	_, want, _ := densereward(t, args...)
	if strings.Count(want, "\n") != len(images) {
		t.Fatalf("lines\n%s", want)
	}
	for name, flags := range map[string][]string{
		"an image at a time":      {"-batch", "1"},
		"a token at a time":       {"-no-speculative"},
		"with two threads":        {"-threads", "2"},
		"in float32, as it is":    {"-float32"},
		"on two devices together": {"-device", "cpu,cpu", "-batch", "2"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, got, said := densereward(t, append(slices.Clone(args), flags...)...); got != want {
				t.Errorf("said %q and\n%s\nwant\n%s", said, got, want)
			}
		})
	}
}

func TestAnyEvaluatorScores(t *testing.T) {
	dir := t.TempDir()
	ask := []string{"score", "-threads", "1", "-evaluator", "signs=ocr", "-prompt", "a sign", "-out", dir}
	code, out, said := densereward(t, append(ask, "-metadata", "text=OPEN", demoImages()[0])...)
	if code != exitOK || said != "" {
		t.Fatalf("exit code %d, said %q", code, said)
	}
	got := lines[record](t, out)[0]
	if len(got.Scores) != 1 || got.Scores[0].value != 0 || got.Reward != 0 || len(got.Missing) != 0 {
		t.Errorf("an image without text: %+v", got)
	}
	for _, name := range []string{"artifact.npy", "dense.npy", "overlay.png"} {
		if _, err := os.Stat(filepath.Join(dir, strings.TrimSuffix(filepath.Base(demoImages()[0]), ".png")+"."+name)); err != nil {
			t.Error(err)
		}
	}
	code, out, _ = densereward(t, append(ask, demoImages()[0])...)
	if code != exitPartial || lines[failure](t, out)[0].Error == "" {
		t.Errorf("without a text to look for: exit code %d, output %s", code, out)
	}
	code, _, said = densereward(t, append(ask, "-evaluator", "more=ocr", demoImages()[0])...)
	if code != exitUsage || !strings.Contains(said, "--evaluator: want one, got 2") {
		t.Errorf("two evaluators: exit code %d, said %q", code, said)
	}
}
