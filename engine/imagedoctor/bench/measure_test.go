package bench

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/imagedoctor"
	"github.com/denseflow/densereward/engine/imagedoctor/released"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/orttest"
	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
	"github.com/denseflow/densereward/engine/qwenvl/qwenvltest"
	"github.com/denseflow/densereward/engine/safetensors"
	"github.com/denseflow/densereward/engine/tokenizer/qwen"
)

func TestMeasuringAccountsForEveryStageAndDevice(t *testing.T) {
	t.Parallel()
	small := qwenvltest.LinkNano(t, "../nano", map[string]string{checkpoint.PreprocessorFile: qwenvltest.SmallImages})
	m, err := Measure(t.Context(), orttest.Open(t), small, Options{
		Batch: 1, Rounds: 1, PromptTokens: 50, NoSpeculative: true, Providers: []ort.Provider{{}, {}},
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
	if m.Steps != 59 || m.PromptTokens != 50 || m.NewTokens != 60 || m.Speculation {
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
func newNanoMeasuring(t *testing.T, o Options) *measuring {
	t.Helper()
	m, err := newMeasuring(nil, "../nano", o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestSyntheticAnswersHaveTheLengthAskedForAndTheFormWhereItFits(t *testing.T) {
	for _, length := range []int{1, 7, 58, 60, 75, 200} {
		m := newNanoMeasuring(t, Options{NewTokens: length})
		config := m.w.Config()
		form := len(m.w.Checkpoint().Tokenizer.Encode(m.w.Template().Text))
		for range 20 {
			ids := m.answer()
			if len(ids) != length {
				t.Fatalf("%d tokens, not %d", len(ids), length)
			}
			if ends := config.IsEOS(ids[length-1]); ends != (length >= form) {
				t.Errorf("an answer of %d tokens ends: %v", length, ends)
			}
			if length < form {
				continue
			}
			text := m.w.Checkpoint().Tokenizer.Decode(ids, false)
			if _, missing := imagedoctor.ParseAnswer(text); missing != (imagedoctor.Missing{}) {
				t.Errorf("%q lacks %v", text, missing)
			}
		}
	}
}

func TestAnAnswersStepsAreThoseThatDraftTokensLeave(t *testing.T) {
	m := newNanoMeasuring(t, Options{})
	// For each of four scores a step to its first digit and one for its second,
	// then a step to the end.
	if n := m.steps(m.w.Checkpoint().Tokenizer.Encode(m.w.Template().Text)); n != 9 {
		t.Errorf("%d steps, want 9", n)
	}
	m.draft = nil
	if n := m.steps(make([]int32, 60)); n != 59 {
		t.Errorf("%d steps one by one, want 59", n)
	}
}

func TestTheRooflineOfTheReleasedShapesIsTheDesigns(t *testing.T) {
	t.Parallel()
	dir := releasedHull(t)
	m, err := newMeasuring(nil, dir, Options{Batch: 1, Providers: []ort.Provider{{Kind: ort.CUDA}}})
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
		options Options
		want    string
	}{
		"prompts without room for an image": {Options{PromptTokens: 300}, "the least is"},
		"a negative batch":                  {Options{Batch: -1}, "-1 batch"},
		"two kinds of devices":              {Options{Providers: []ort.Provider{{}, {Kind: ort.CUDA}}}, "different graphs"},
	} {
		if _, err := newMeasuring(nil, "../nano", test.options); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := newMeasuring(nil, t.TempDir(), Options{}); err == nil {
		t.Error("an empty folder was accepted")
	}
}

func TestMeasuringEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Measure(ctx, orttest.Open(t), "../nano", Options{Batch: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// releasedHull is a folder like the released checkpoint, with holes for weights.
func releasedHull(t *testing.T) string {
	t.Helper()
	tokens, err := qwen.JSON()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string][]byte{checkpoint.ConfigFile: []byte(released.Config), checkpoint.TokenizerFile: tokens} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := imagedoctor.LoadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	c.VocabSize = released.Vocabulary
	tensors, err := imagedoctor.Inventory(c, imagedoctor.HeadWidths{Width: released.HeadWidth, MLP: released.HeadMLP})
	if err != nil {
		t.Fatal(err)
	}
	sources := make([]safetensors.Source, len(tensors))
	for i, one := range tensors {
		sources[i] = safetensors.Source{Name: one.Name, DType: one.DType, Shape: one.Shape}
	}
	if err := safetensors.WriteShards(dir, sources, 4<<30); err != nil {
		t.Fatal(err)
	}
	return dir
}
