package imagedoctor

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/orttest"
	"github.com/denseflow/densereward/engine/qwenvl/qwenvltest"
	"github.com/denseflow/densereward/reward"
)

// What a graph with custom operators has around them, joined weights, their order and
// what is cut where, is held against the reference with plain nodes in their place.
func TestTheReferencesCasesWithWhatOperatorsStandFor(t *testing.T) {
	t.Parallel()
	_, samples := refSamples(t)
	for name, test := range map[string]struct {
		file string
		form form
	}{
		"speculative": {"cases.json", form{}}, "a token a step": {"cases.json", form{noSpeculative: true}}, "with a penalty": {"penalty.json", form{penalty: 1.05}},
	} {
		t.Run(name, func(t *testing.T) {
			cases := qwenvltest.ReadNanoCases(t, test.file)
			e := formed(t, test.form, ort.Provider{}, func(o *graphOptions) { o.Operators = onnx.AllOperators | onnx.WrittenOut })
			for i, r := range evaluate(t, e, processed(t, e, samples)) {
				if test.form.penalty == 0 {
					likeTheReference(t, r, cases[i])
				} else if r.Text != cases[i].Text {
					t.Errorf("%s: text %q\nwant %q", cases[i].Name, r.Text, cases[i].Text)
				}
			}
		})
	}
}

// Operators round elsewhere than plain nodes: answers may part where the two greatest
// logits lie within a step of bfloat16. -imagedoctor.prompts sets on how many.
func TestOperatorsOnAGPUAnswerAsPlainNodesButForTies(t *testing.T) {
	provider := orttest.CUDA(t)[0]
	const rows, most = 16, 120
	for name, f := range map[string]form{"as the model begins": {small: true}, "with the published start": {small: true, prefixed: true}} {
		t.Run(name, func(t *testing.T) {
			plain := onGPU(t, f, false)
			f.operators = onnx.AllOperators
			fused := onGPU(t, f, false)
			exact := &probe{formed(t, f, provider, func(o *graphOptions) { o.probes = true })}
			rng := rand.New(rand.NewPCG(20, 1))
			same, all := 0, prompts(64)
			for n := all; n > 0; n -= rows {
				var ready []*prepared
				for range min(n, rows) {
					ready = append(ready, anyPrompt(t, rng, fused))
				}
				got, want := answer(t, fused, reward.ModeAnswer, ready, most), answer(t, plain, reward.ModeAnswer, ready, most)
				for i, p := range ready {
					ids := want[i].Trace.GeneratedIDs
					at := parting(got[i].Trace.GeneratedIDs, ids)
					if at < 0 {
						same++
						continue
					}
					first, second := exact.greatest(t, p, ids[:at])
					_, exponent := math.Frexp(float64(first))
					step := math.Ldexp(1, exponent-8)
					t.Logf("%d left, row %d: other tokens from %d on, where the greatest logits are %v and %v", n, i, at, first, second)
					if float64(first-second) > step {
						t.Errorf("%d left, row %d: they are further apart than %v", n, i, step)
					}
				}
			}
			t.Logf("%d of %d prompts had the same answers", same, all)
		})
	}
}

// greatest are the two greatest logits behind a prompt that goes on with some tokens.
func (p *probe) greatest(t *testing.T, of *prepared, with []int32) (first, second float32) {
	t.Helper()
	longer := *of
	longer.IDs = slices.Concat(of.IDs, with)
	b := p.joined(reward.ModeAnswer, []*prepared{&longer})
	b.MaxNewTokens = 1
	logits := slices.Sorted(slices.Values(p.run(t, b)[outputLogits].Float32s()))
	return logits[len(logits)-1], logits[len(logits)-2]
}
