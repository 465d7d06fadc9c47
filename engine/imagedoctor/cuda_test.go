package imagedoctor

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/orttest"
	"github.com/denseflow/densereward/engine/qwenvl/qwenvltest"
	"github.com/denseflow/densereward/internal/numtest"
	"github.com/denseflow/densereward/reward"
)

// bfloat16Ties are the places in the reference's answers where the two highest
// logits, both above 8, lie less than a step of bfloat16 apart, which is 1/16
// there. Which of them is the highest is chance in bfloat16; from there on an
// answer may be another.
var bfloat16Ties = map[string]int{
	"case03": 54, // 0.0102 apart
	"case04": 34, // 0.0022
	"case05": 59, // 0.0039
}

// The ties are what they are said to be, by the logits behind prompts that go on
// with the answer up to there.
func TestTheTiesOfBfloat16AreWithinOneOfItsSteps(t *testing.T) {
	t.Parallel()
	p := newProbe(t, false)
	cases, samples := refSamples(t)
	for i, c := range cases {
		at, ok := bfloat16Ties[c.Name]
		if !ok {
			continue
		}
		ready := processed(t, p.Evaluator, samples[i:i+1])[0].Prepared.(*prepared)
		ready.IDs = slices.Concat(c.InputIDs, c.GeneratedIDs[:at])
		b := p.joined(reward.ModeAnswer, []*prepared{ready})
		b.MaxNewTokens = 1
		logits := slices.Sorted(slices.Values(p.run(t, b)[outputLogits].Float32s()))
		first, second := logits[len(logits)-1], logits[len(logits)-2]
		if first < 8 || first >= 16 || first-second > 1.0/16 {
			t.Errorf("%s: the two highest logits are %v and %v", c.Name, first, second)
		}
	}
}

// onGPU loads a form of the nano checkpoint on the first GPU.
func onGPU(t *testing.T, f form, exact bool) *Evaluator {
	t.Helper()
	o := f.options()
	o.Provider, o.Float32 = orttest.CUDA(t)[0], exact
	e, err := Load(orttest.Open(t), f.folder(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func TestAGPUInFloat32AnswersAsACPU(t *testing.T) {
	orttest.CUDA(t)
	_, samples := refSamples(t)
	for name, f := range map[string]form{
		"speculative": {}, "a token a step": {noSpeculative: true}, "with a penalty": {penalty: 1.05}, "with the published start": {prefixed: true},
	} {
		t.Run(name, func(t *testing.T) {
			want := evaluate(t, nanoEvaluator(t, f), samples)
			for i, r := range evaluate(t, onGPU(t, f, true), samples) {
				if !slices.Equal(r.Trace.GeneratedIDs, want[i].Trace.GeneratedIDs) {
					t.Errorf("case %d: generated %v\nwant %v", i, r.Trace.GeneratedIDs, want[i].Trace.GeneratedIDs)
				}
				for kind, h := range heatmaps(r) {
					bound{mean: 1e-3, max: 1e-3}.hold(t, fmt.Sprintf("case %d %s", i, kind), h.Data, heatmaps(want[i])[kind].Data)
				}
			}
		})
	}
}

// asTheReferenceButForTies holds answers in bfloat16 against the reference's: the
// same tokens, or the same up to a tie.
func asTheReferenceButForTies(t *testing.T, what string, r reward.Result, want qwenvltest.NanoCase) {
	t.Helper()
	got, ids := r.Trace.GeneratedIDs, want.GeneratedIDs
	if at := parting(got, ids); at >= 0 {
		if tie, ok := bfloat16Ties[want.Name]; !ok || at != tie {
			t.Errorf("%s, %s: parts from the reference at %d: %v\nwant %v", what, want.Name, at, got, ids)
		} else {
			t.Logf("%s, %s: another answer from the tie at %d on", what, want.Name, at)
		}
		return
	}
	arrays := readArrays(t, want.Name+".npz")
	for name, h := range heatmaps(r) {
		d := numtest.Compare(h.Data, arrays[name])
		t.Logf("%s, %s %s: %v", what, want.Name, name, d)
		if d.Mean > 1e-2 {
			t.Errorf("%s, %s: the %s heatmap differs: %v", what, want.Name, name, d)
		}
	}
}

// parting is the first index at which a and b differ, -1 if they are equal.
func parting(a, b []int32) int {
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			return i
		}
	}
	return -1
}

func TestAGPUInBfloat16AnswersAsTheReferenceButForTies(t *testing.T) {
	orttest.CUDA(t)
	cases, samples := refSamples(t)
	forms := map[string]form{"speculative": {}, "a token a step": {noSpeculative: true}}
	for name, f := range maps.Clone(forms) {
		f.operators = onnx.AllOperators
		forms[name+" with operators"] = f
	}
	for o := onnx.Operators(1); o < onnx.AllOperators; o <<= 1 {
		forms["with "+o.String()] = form{operators: o}
	}
	for name, f := range forms {
		t.Run(name, func(t *testing.T) {
			e := onGPU(t, f, false)
			samples := processed(t, e, samples)
			for i, r := range evaluate(t, e, samples) {
				asTheReferenceButForTies(t, "as a batch", r, cases[i])
			}
			for i := range samples {
				asTheReferenceButForTies(t, "one by one", evaluate(t, e, samples[i:i+1])[0], cases[i])
			}
		})
	}
}

// Heads that were trained have queries and keys whose products float16, in which a
// GPU has the heads, does not hold; those of a random checkpoint never do.
func TestTrainedHeadsDrawOnAGPUWhatTheyDrawOnACPU(t *testing.T) {
	provider := orttest.CUDA(t)[0]
	file, err := os.ReadFile("pocket/testdata/heldout12.png")
	if err != nil {
		t.Fatal(err)
	}
	img, err := image.Decode(file, image.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	draw := func(p ort.Provider) reward.Result {
		e, err := Load(orttest.Open(t), "pocket", Options{Provider: p})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		return evaluate(t, e, []reward.Sample{{Image: img, Prompt: "a red circle above a green square", Mode: reward.ModeAnswer}})[0]
	}
	want := draw(ort.Provider{})
	for kind, h := range heatmaps(draw(provider)) {
		bound{mean: 0.02, max: 0.3}.hold(t, kind, h.Data, heatmaps(want)[kind].Data)
	}
}

// The cache of pages is held against the one of padded rows, in one precision.
func TestPagesOnAGPUAnswerAsPaddedRowsButForTies(t *testing.T) {
	provider := orttest.CUDA(t)[0]
	cases, samples := refSamples(t)
	e := formed(t, form{}, provider, func(o *graphOptions) { o.DType, o.heads = onnx.BFloat16, onnx.Float16 })
	for i, r := range evaluate(t, e, processed(t, e, samples)) {
		asTheReferenceButForTies(t, "padded rows", r, cases[i])
	}
}

// On a GPU steps of several tokens run other kernels than steps of one. The
// answers must be the same all the same: -imagedoctor.prompts sets on how many.
func TestSpeculativeDecodingOnAGPUAnswersAsATokenAStepDoes(t *testing.T) {
	orttest.CUDA(t)
	const rows, most = 16, 120
	forms := speculativeForms()
	for name, f := range maps.Clone(forms) {
		f.operators = onnx.AllOperators
		forms[name+", and operators"] = f
	}
	for name, f := range forms {
		t.Run(name, func(t *testing.T) {
			speculative := onGPU(t, f, false)
			f.noSpeculative = true
			slow := onGPU(t, f, false)
			rng := rand.New(rand.NewPCG(13, 6))
			same, all := 0, prompts(64)
			for n := all; n > 0; n -= rows {
				var ready []*prepared
				for range min(n, rows) {
					ready = append(ready, anyPrompt(t, rng, speculative))
				}
				got, want := answer(t, speculative, reward.ModeAnswer, ready, most), answer(t, slow, reward.ModeAnswer, ready, most)
				for i := range got {
					if at := parting(got[i].Trace.GeneratedIDs, want[i].Trace.GeneratedIDs); at >= 0 {
						t.Errorf("%d left, row %d: other tokens from %d on:\n%v\n%v", n, i, at, got[i].Trace.GeneratedIDs, want[i].Trace.GeneratedIDs)
						continue
					}
					same++
				}
			}
			t.Logf("%d of %d prompts had the same answers", same, all)
		})
	}
}

func TestAnAnswerIsTheSameInEveryBatchOnAGPU(t *testing.T) {
	e := onGPU(t, form{small: true}, true)
	rng := rand.New(rand.NewPCG(4, 4))
	var ready []*prepared
	for range 12 {
		ready = append(ready, anyPrompt(t, rng, e))
	}
	all := answer(t, e, reward.ModeAnswer, ready, 60)
	for i, p := range ready {
		alone := answer(t, e, reward.ModeAnswer, []*prepared{p}, 60)[0]
		if !slices.Equal(alone.Trace.GeneratedIDs, all[i].Trace.GeneratedIDs) {
			t.Errorf("row %d: %v\nby itself %v", i, all[i].Trace.GeneratedIDs, alone.Trace.GeneratedIDs)
		}
	}
}

// As the scheduler has it: part of a batch that was too large is answered.
func TestABatchTooLargeForAGPUIsToldAndALesserOneAnswered(t *testing.T) {
	provider := orttest.CUDA(t)[0]
	provider.MemoryLimit = 1 << 30
	cases, samples := refSamples(t)
	many := slices.Repeat(samples, 64/len(samples))
	for _, operators := range []onnx.Operators{0, onnx.AllOperators} {
		o := form{operators: operators}.options()
		o.Provider, o.MaxBatch = provider, 64
		e, err := Load(orttest.Open(t), "nano", o)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		if _, err := e.Evaluate(t.Context(), many); !errors.Is(err, reward.ErrOutOfMemory) {
			t.Fatalf("%d images within 1 GiB, operators %v: %v", len(many), operators, err)
		}
		for i, r := range evaluate(t, e, processed(t, e, samples[:1])) {
			asTheReferenceButForTies(t, "after running out of memory", r, cases[i])
		}
	}
}

func BenchmarkEvaluateOnAGPU(b *testing.B) {
	provider := orttest.CUDA(b)[0]
	o := form{prefixed: true}.options()
	o.Provider, o.MaxBatch = provider, 64
	e, err := Load(orttest.Open(b), "nano", o)
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	for _, rows := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("%d images", rows), func(b *testing.B) { benchmarkEvaluate(b, e, rows) })
	}
}
