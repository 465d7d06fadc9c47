package imagedoctor

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/orttest"
)

func TestMeasuringAccountsForEveryStageAndDevice(t *testing.T) {
	t.Parallel()
	m, err := Measure(t.Context(), orttest.Open(t), "nano", MeasureOptions{
		Batch: 1, Rounds: 1, PromptTokens: 346, NoSpeculative: true, Providers: []ort.Provider{{}, {}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range m.Stages {
		names = append(names, s.Name)
		if s.Seconds < 0 || math.IsNaN(s.Seconds) {
			t.Errorf("%s took %v s", s.Name, s.Seconds)
		}
	}
	want := []string{"decode", "resize", "join", "copy", "patches", "vision", "prompt", "decoding", "heads"}
	if !slices.Equal(names, want) {
		t.Errorf("stages %v, want %v", names, want)
	}
	if m.Steps != 59 || m.PromptTokens != 346 || m.NewTokens != 60 || m.Speculation {
		t.Errorf("%d tokens after %d in %d steps, speculative %v", m.NewTokens, m.PromptTokens, m.Steps, m.Speculation)
	}
	if len(m.Devices) != 2 || m.RooflineSeconds != 0 {
		t.Fatalf("devices %+v, roofline %v", m.Devices, m.RooflineSeconds)
	}
	sum := m.Devices[0].ImagesPerSec + m.Devices[1].ImagesPerSec
	if !(sum > 0) || m.ImagesPerSec != sum || math.Abs(m.TokensPerSec-60*sum) > 1e-9*sum {
		t.Errorf("%v images a second and %v tokens, %v on the devices together", m.ImagesPerSec, m.TokensPerSec, sum)
	}
}

// newNanoMeasuring is a Measure that has not begun.
func newNanoMeasuring(t *testing.T, o MeasureOptions) *measuring {
	t.Helper()
	m, err := newMeasuring(nil, "nano", o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestSyntheticAnswersHaveTheLengthAskedForAndTheFormWhereItFits(t *testing.T) {
	for _, length := range []int{1, 7, 58, 60, 75, 200} {
		m := newNanoMeasuring(t, MeasureOptions{NewTokens: length})
		form := len(m.e.tokenizer.Encode(m.template()))
		for range 20 {
			ids := m.answer()
			if len(ids) != length {
				t.Fatalf("%d tokens, not %d", len(ids), length)
			}
			if ends := m.e.config.IsEOS(ids[length-1]); ends != (length >= form) {
				t.Errorf("an answer of %d tokens ends: %v", length, ends)
			}
			if length < form {
				continue
			}
			text := m.e.tokenizer.Decode(ids, false)
			if _, missing := ParseAnswer(answerPrefix + text); missing != (Missing{}) {
				t.Errorf("%q lacks %v", text, missing)
			}
		}
	}
}

func TestAnAnswersStepsAreThoseThatDraftTokensLeave(t *testing.T) {
	m := newNanoMeasuring(t, MeasureOptions{})
	// For each of four scores a step to its first digit and one for its second,
	// then a step to the end.
	if n := m.steps(m.e.tokenizer.Encode(m.template())); n != 9 {
		t.Errorf("%d steps, want 9", n)
	}
	m.e.draft = nil
	if n := m.steps(make([]int32, 60)); n != 59 {
		t.Errorf("%d steps one by one, want 59", n)
	}
}

func TestTheRooflineOfTheReleasedShapesIsTheDesigns(t *testing.T) {
	t.Parallel()
	dir := releasedHull(t)
	m, err := newMeasuring(nil, dir, MeasureOptions{Batch: 1, Providers: []ort.Provider{{Kind: ort.CUDA}}})
	if err != nil {
		t.Fatal(err)
	}
	// 5.5 TFLOP an image at 790 TFLOP/s and 6.2 GB a step at 3 TB/s.
	prompt, step := m.roofline(0), m.roofline(1)-m.roofline(0)
	if math.Abs(prompt-5.45e12/790e12) > 5e-5 || math.Abs(step-6.17e9/3e12) > 1e-5 {
		t.Errorf("%v s for the prompt and %v s a step", prompt, step)
	}
}

func TestMeasuringRefusesWhatMakesNoSense(t *testing.T) {
	for name, test := range map[string]struct {
		options MeasureOptions
		want    string
	}{
		"prompts without room for an image": {MeasureOptions{PromptTokens: 300}, "the least is"},
		"a negative batch":                  {MeasureOptions{Batch: -1}, "-1 batch"},
		"two kinds of devices":              {MeasureOptions{Providers: []ort.Provider{{}, {Kind: ort.CUDA}}}, "different graphs"},
	} {
		if _, err := newMeasuring(nil, "nano", test.options); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := newMeasuring(nil, t.TempDir(), MeasureOptions{}); err == nil {
		t.Error("an empty folder was accepted")
	}
}

func TestMeasuringEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Measure(ctx, orttest.Open(t), "nano", MeasureOptions{Batch: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
