package imagedoctor

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/engine/qwenvl/qwenvltest"
	"github.com/denseflow/densereward/internal/numtest"
	"github.com/denseflow/densereward/reward"
)

// everyCase adds what takes most of the time and fails with the rest, if at all: all of the
// reference's cases in every form of the graph, by themselves as well, and more places that
// drafts begin at or are cut at.
var everyCase = flag.Bool("every-case", false, "hold all of the reference's cases against each form of the graph [two of them], and draft from more places")

// few is all, or without -every-case at most so many.
func few(usual, all int) int {
	if *everyCase {
		return all
	}
	return min(usual, all)
}

// bound limits how a tensor may differ from the reference's.
type bound struct{ mean, max float64 }

// Patches are the processor's bit for bit, so that nothing but the order of
// float32 sums is left: 7e-7 on average and 2e-5 at most on the machine that
// these bounds were set on, ten times which other processors may need.
var heatmapBound = bound{mean: 1e-5, max: 2e-4}

// featureBound is the relative error of features and logits for the same reason,
// measured as 3e-7.
const featureBound = 5e-6

func (b bound) hold(t *testing.T, name string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s has %d values, want %d", name, len(got), len(want))
		return
	}
	d := numtest.Compare(got, want)
	if d.Mean > b.mean || d.Max > b.max {
		t.Errorf("%s: %v; bounds mean %g, max %g", name, d, b.mean, b.max)
	}
}

// likeTheReference holds a result against the reference's.
func likeTheReference(t *testing.T, got reward.Result, want qwenvltest.NanoCase) {
	t.Helper()
	if !slices.Equal(got.Trace.InputIDs, want.InputIDs) {
		t.Errorf("%s: other input ids", want.Name)
	}
	if !slices.Equal(got.Trace.GeneratedIDs, want.GeneratedIDs) {
		t.Errorf("%s: generated %v\nwant %v", want.Name, got.Trace.GeneratedIDs, want.GeneratedIDs)
	}
	if got.Text != want.Text {
		t.Errorf("%s: text %q\nwant %q", want.Name, got.Text, want.Text)
	}
	scores, missing := ParseAnswer(want.Text)
	if !slices.Equal(got.Scores, scores[:]) || !slices.Equal(got.Missing, missing.Names()) {
		t.Errorf("%s: scores %v, missing %v; the text says %v and %v", want.Name, got.Scores, got.Missing, scores, missing)
	}
	arrays := readArrays(t, want.Name+".npz")
	for name, h := range heatmaps(got) {
		if h.Height != 288 || h.Width != 288 {
			t.Errorf("%s: the %s heatmap is %dx%d", want.Name, name, h.Height, h.Width)
		}
		heatmapBound.hold(t, want.Name+" "+name, h.Data, arrays[name])
		heatmapBound.hold(t, want.Name+" "+name+" 64x64", pooled(h), arrays[name+"_64"])
	}
}

// pooled is a heatmap on the grid of 64x64.
func pooled(h reward.Map) []float32 {
	grid := dense.Grid{Height: 64, Width: 64}
	out := make([]float32, grid.Height*grid.Width)
	dense.AdaptiveAvgPool(out, grid, h.Data, dense.Grid{Height: h.Height, Width: h.Width})
	return out
}

// asTheReference scores the first of the reference's images as one batch and some of them
// one by one, and holds each result against the reference's. Draft tokens and a token a
// step must agree more closely than that.
func asTheReference(t *testing.T, f form, together, single int, hold func(t *testing.T, i int, r reward.Result)) {
	_, samples := refSamples(t)
	samples = samples[:together]
	e := nanoEvaluator(t, f)
	samples = processed(t, e, samples)
	drafted := evaluate(t, e, samples)
	for i, r := range drafted {
		hold(t, i, r)
	}
	for i := range single {
		r := evaluate(t, e, samples[i:i+1])[0]
		hold(t, i, r)
		sameResult(t, fmt.Sprintf("case %d, by itself", i), r, drafted[i])
	}
	f.noSpeculative = true
	for i, r := range evaluate(t, nanoEvaluator(t, f), samples) {
		hold(t, i, r)
		sameResult(t, fmt.Sprintf("case %d, a token a step", i), r, drafted[i])
	}
}

func TestTheReferencesCases(t *testing.T) {
	t.Parallel()
	cases := qwenvltest.ReadNanoCases(t, "cases.json")
	asTheReference(t, form{}, len(cases), few(1, len(cases)), func(t *testing.T, i int, r reward.Result) { likeTheReference(t, r, cases[i]) })
}

func TestTheReferencesCasesWithARepetitionPenalty(t *testing.T) {
	t.Parallel()
	cases, arrays := qwenvltest.ReadNanoCases(t, "penalty.json"), readArrays(t, "penalty.npz")
	asTheReference(t, form{penalty: 1.05}, few(2, len(cases)), few(1, len(cases)), func(t *testing.T, i int, r reward.Result) {
		want := cases[i]
		if !slices.Equal(r.Trace.GeneratedIDs, want.GeneratedIDs) || r.Text != want.Text {
			t.Errorf("%s: generated %v\n%q\nwant %v\n%q", want.Name, r.Trace.GeneratedIDs, r.Text, want.GeneratedIDs, want.Text)
		}
		for name, h := range heatmaps(r) {
			heatmapBound.hold(t, want.Name+" "+name, pooled(h), arrays[want.Name+"."+name+"_64"])
		}
	})
}

func TestPromptsOfAllLengthsInOneBatchAreAsOneByOne(t *testing.T) {
	t.Parallel()
	e := nanoEvaluator(t, form{small: true})
	_, samples := refSamples(t)
	for i, prompt := range []string{
		"", "cat", "a very long caption " + strings.Repeat("of many words ", 30), "猫、犬", "a red circle on a plain background", "x y z, x y z",
	} {
		samples[i].Prompt = prompt
	}
	const most = 40
	all := generate(t, e, reward.ModeAnswer, samples, most)
	lengths := map[int]bool{}
	for i, got := range all {
		lengths[len(got.Trace.InputIDs)] = true
		sameResult(t, samples[i].Prompt, got, generate(t, e, reward.ModeAnswer, samples[i:i+1], most)[0])
	}
	if len(lengths) != len(samples) {
		t.Errorf("only %d lengths of prompts", len(lengths))
	}
}

// sameHeatmaps is what the same sums in another order may differ by in the
// heatmaps, whose values are between 0 and 1.
const sameHeatmaps = 1e-4

// sameResult holds two answers to one question against each other: by other
// steps, in another batch.
func sameResult(t *testing.T, what string, got, want reward.Result) bool {
	t.Helper()
	if !slices.Equal(got.Trace.InputIDs, want.Trace.InputIDs) {
		t.Errorf("%s: other input ids", what)
		return false
	}
	if !slices.Equal(got.Trace.GeneratedIDs, want.Trace.GeneratedIDs) || got.Text != want.Text {
		t.Errorf("%s: generated %v\n%q\nwant %v\n%q", what, got.Trace.GeneratedIDs, got.Text, want.Trace.GeneratedIDs, want.Text)
		return false
	}
	for name, h := range heatmaps(got) {
		if d := numtest.Compare(h.Data, heatmaps(want)[name].Data); d.Max > sameHeatmaps {
			t.Errorf("%s: the %s heatmaps differ: %v", what, name, d)
			return false
		}
	}
	return true
}
