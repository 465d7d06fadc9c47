package imagedoctor

import (
	"slices"
	"testing"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/qwenvl"
	"github.com/denseflow/densereward/engine/qwenvl/qwenvltest"
	"github.com/denseflow/densereward/internal/numtest"
	"github.com/denseflow/densereward/reward"
)

// probe is the nano evaluator with its intermediate results as outputs.
type probe struct{ *Evaluator }

// newProbe makes a probe; patches tells whether it takes the processor's patches in
// place of images.
func newProbe(t *testing.T, patches bool) *probe {
	t.Helper()
	e := formed(t, form{}, ort.Provider{}, func(o *graphOptions) { o.probes, o.Patches = true, patches })
	return &probe{e}
}

// run evaluates a batch. It returns the outputs by name.
func (p *probe) run(t *testing.T, b qwenvl.Batch) map[string]ort.Tensor {
	t.Helper()
	out, err := p.session.Run(t.Context(), p.inputs(b))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The reference's own patches are stored as float16, which its results were not
// computed from: these bounds are wider than those from images.
func TestTheGraphComputesWhatTheReferenceDoesFromItsPatches(t *testing.T) {
	t.Parallel()
	p := newProbe(t, true)
	want, arrays := qwenvltest.ReadNanoCases(t, "cases.json")[0], readArrays(t, "case00.npz")
	laid, err := qwenvl.LayOut(p.config.Config, want.InputIDs, &reward.Image{Width: 504, Height: 504})
	if err != nil {
		t.Fatal(err)
	}
	out := p.run(t, qwenvl.Batch{
		Prompts: []qwenvl.Prompt{laid}, Patches: arrays["pixel_values_f16"], MaxNewTokens: 128, Penalty: 1, Draft: p.drafts[reward.ModeAnswer].Machine(),
	})
	var ids []int32
	for _, id := range out[outputTokens].Int64s() {
		ids = append(ids, int32(id))
	}
	if !slices.Equal(ids, want.GeneratedIDs) {
		t.Errorf("generated %v\nwant %v", ids, want.GeneratedIDs)
	}
	if d := numtest.Compare(out[outputFeatures].Float32s(), arrays["image_embeds"]); d.Rel > 1e-4 {
		t.Errorf("image features: %v", d)
	}
	tolerance := numtest.Tolerance{Abs: 2e-5, Rel: 1e-4} // states have a size of 1, logits of 2
	numtest.Slice(t, "hidden state of the last prompt token", out[outputHidden].Float32s(), arrays["prefill_last_hidden"], tolerance)
	numtest.Slice(t, "logits behind the prompt", out[outputLogits].Float32s(), arrays["prefill_logits"], tolerance)
	maps := out[outputHeatmaps].Float32s()
	size := len(maps) / kinds
	exact := bound{mean: 1e-4, max: 1e-3}
	exact.hold(t, "misalignment", maps[:size], arrays["misalignment"])
	exact.hold(t, "artifact", maps[size:], arrays["artifact"])
}

func TestImageFeaturesAreTheReferences(t *testing.T) {
	t.Parallel()
	p := newProbe(t, false)
	cases, samples := refSamples(t)
	var ready []*prepared
	for _, s := range processed(t, p.Evaluator, samples) {
		ready = append(ready, s.Prepared.(*prepared))
	}
	b := p.joined(reward.ModeAnswer, ready)
	b.MaxNewTokens = 1
	out := p.run(t, b)
	features, logits := out[outputFeatures].Float32s(), out[outputLogits].Float32s()
	rows := len(cases)
	for i, c := range cases {
		arrays := readArrays(t, c.Name+".npz")
		size := len(features) / rows
		if d := numtest.Compare(features[i*size:(i+1)*size], arrays["image_embeds"]); d.Rel > featureBound {
			t.Errorf("%s: image features: %v", c.Name, d)
		}
		size = len(logits) / rows
		if d := numtest.Compare(logits[i*size:(i+1)*size], arrays["prefill_logits"]); d.Rel > featureBound {
			t.Errorf("%s: logits behind the prompt: %v", c.Name, d)
		}
	}
}
