package rewardtest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/denseflow/densereward/reward"
)

// runGenerator tests what is claimed by evaluators that continue prompts.
func (s *suite) runGenerator(t *testing.T) {
	generator, ok := s.evaluator.(reward.Generator)
	if ok != s.about.Generates {
		t.Errorf("its description says that it generates: %v, and that it is a Generator is %v", s.about.Generates, ok)
	}
	bad := s.prompts()[:1]
	if results, err := s.evaluator.Evaluate(t.Context(), bad); err == nil && results[0].Err == nil {
		t.Error("a prompt to continue was scored")
	}
	if !ok {
		return // nothing is claimed
	}
	g := &generation{suite: s, generator: generator}
	t.Run("it continues equal samples alike, whatever is beside them", g.testDeterminism)
	t.Run("it writes no more tokens than it may", g.testLimit)
	t.Run("it ends before a stop text", g.testStop)
	t.Run("one bad prompt costs its neighbours nothing", g.testBadSamples)
	t.Run("it stops writing when its context is done", g.testCancel)
}

type generation struct {
	*suite
	generator reward.Generator
}

// prompts are samples to continue.
func (s *suite) prompts() []reward.Sample {
	samples := s.samples()
	for i := range samples {
		samples[i].Mode = reward.ModeGenerate
		samples[i].Continuation.MaxNewTokens = 8
	}
	samples[1].Continuation.System = "Be brief."
	samples[1].Continuation.ImageLast = true
	return samples
}

func (g *generation) generate(t *testing.T, samples []reward.Sample) []reward.Generation {
	t.Helper()
	results, err := g.generator.Generate(t.Context(), samples)
	if err != nil || len(results) != len(samples) {
		t.Fatalf("Generate: %d results for %d samples, %v", len(results), len(samples), err)
	}
	written := make([]reward.Generation, len(results))
	for i, r := range results {
		if r.Err != nil || r.Generation == nil {
			t.Fatalf("sample %d: %v, %v", i, r.Generation, r.Err)
		}
		written[i] = *r.Generation
	}
	return written
}

func (g *generation) testDeterminism(t *testing.T) {
	want := g.generate(t, g.prompts())
	reversed := g.prompts()
	slices.Reverse(reversed)
	for i, got := range g.generate(t, reversed) {
		if got != want[len(want)-1-i] {
			t.Errorf("in reverse order: %+v, want %+v", got, want[len(want)-1-i])
		}
	}
	for i, sample := range g.prompts() {
		if p, ok := g.evaluator.(reward.Preparer); ok {
			if err := p.Prepare(t.Context(), &sample); err != nil {
				t.Fatalf("Prepare: %v", err)
			}
		}
		if got := g.generate(t, []reward.Sample{sample})[0]; got != want[i] {
			t.Errorf("by itself: %+v, want %+v", got, want[i])
		}
	}
}

func (g *generation) testLimit(t *testing.T) {
	samples := g.prompts()
	for i := range samples {
		samples[i].Continuation.MaxNewTokens = i + 1
	}
	for i, got := range g.generate(t, samples) {
		if got.Tokens > i+1 || got.Truncated && got.Tokens < i+1 {
			t.Errorf("%+v, where %d tokens are allowed", got, i+1)
		}
	}
}

func (g *generation) testStop(t *testing.T) {
	samples := g.prompts()
	var want []string
	for i, whole := range g.generate(t, g.prompts()) {
		stop, before := "nothing writes this", whole.Text
		if _, first := utf8.DecodeRuneInString(whole.Text); first < len(whole.Text) { // all but the first letter
			stop, before = whole.Text[first:], whole.Text[:first]
			if at := strings.Index(whole.Text, stop); at < first {
				before = whole.Text[:at]
			}
		}
		samples[i].Continuation.Stop = []string{"nothing writes that either", stop}
		want = append(want, before)
	}
	for i, got := range g.generate(t, samples) {
		if got.Text != want[i] {
			t.Errorf("wrote %q before %q, want %q", got.Text, samples[i].Continuation.Stop[1], want[i])
		}
	}
}

func (g *generation) testBadSamples(t *testing.T) {
	good := g.prompts()[:2]
	want := g.generate(t, good)
	for name, bad := range map[string]reward.Sample{
		"no image":              {Prompt: "a", Mode: reward.ModeGenerate},
		"an image of no pixels": {Prompt: "a", Mode: reward.ModeGenerate, Image: &reward.Image{}},
		"a sample to score":     {Prompt: "a", Mode: g.about.Modes[0], Image: Image(5, 64, 64)},
	} {
		results, err := g.generator.Generate(t.Context(), []reward.Sample{good[0], bad, good[1]})
		if err != nil || len(results) != 3 {
			t.Errorf("%s: %d results, %v", name, len(results), err)
			continue
		}
		if results[1].Err == nil {
			t.Errorf("%s: continued", name)
		}
		for at, i := range map[int]int{0: 0, 2: 1} {
			if r := results[at]; r.Err != nil || *r.Generation != want[i] {
				t.Errorf("%s: its neighbour: %+v, %v", name, r.Generation, r.Err)
			}
		}
	}
}

func (g *generation) testCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.generator.Generate(ctx, g.prompts()); !errors.Is(err, context.Canceled) {
		t.Errorf("Generate: got %v, want the context's error", err)
	}
}
