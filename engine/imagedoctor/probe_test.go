package imagedoctor

import (
	"slices"
	"testing"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/internal/numtest"
	"github.com/denseflow/densereward/reward"
)

// probe is the nano evaluator with its intermediate results as outputs.
type probe struct {
	*Evaluator
	outputs []string
}

// newProbe makes a probe; patches tells whether it takes the processor's patches in
// place of pictures.
func newProbe(t *testing.T, patches bool) *probe {
	t.Helper()
	e, outputs := formed(t, form{}, ort.Provider{}, func(o *graphOptions) { o.probes, o.patches = true, patches })
	return &probe{e, outputs}
}

// run evaluates a batch. It returns the outputs by name.
func (p *probe) run(t *testing.T, b batch) map[string]ort.Tensor {
	t.Helper()
	tensors, err := p.session.Run(t.Context(), b.inputs(p.inputs))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]ort.Tensor{}
	for i, name := range p.outputs {
		out[name] = tensors[i]
	}
	return out
}

// The reference's own patches are stored as float16, which its results were not
// computed from: these bounds are wider than those from pictures.
func TestTheGraphComputesWhatTheReferenceDoesFromItsPatches(t *testing.T) {
	p := newProbe(t, true)
	want, arrays := readCases(t, "cases.json")[0], readArrays(t, "case00.npz")
	laid, err := p.config.layOut(want.InputIDs, p.imageStart)
	if err != nil {
		t.Fatal(err)
	}
	out := p.run(t, batch{
		prompts: []prompt{laid}, pictures: ort.Float32s([]int64{1, 1296, 1176}, arrays["pixel_values_f16"]), maxTokens: 128, penalty: 1,
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
	p := newProbe(t, false)
	cases, samples := refSamples(t)
	var ready []*prepared
	for _, s := range samples {
		if err := p.Prepare(t.Context(), &s); err != nil {
			t.Fatal(err)
		}
		ready = append(ready, s.Prepared.(*prepared))
	}
	b := p.batch(reward.ModeAnswer, ready)
	b.maxTokens = 1
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

// patchesOf runs the graph's cutting of patches by itself.
func patchesOf(t *testing.T, c Config, picture []uint8) []float32 {
	t.Helper()
	g := onnx.New("patches")
	side := int64(c.ImageSide())
	in := g.Input(inputPictures, onnx.Uint8, onnx.Shape{onnx.Sym("batch"), onnx.N(side), onnx.N(side), onnx.N(3)})
	v := &vision{c: c.Vision, grid: c.patchGrid()}
	g.Output(inputPatches, v.patchify(g, in, c.Preprocessor))
	out, err := openSession(t, g, ort.SessionOptions{}).Run(t.Context(), []ort.Tensor{ort.Uint8s([]int64{1, side, side, 3}, picture)})
	if err != nil {
		t.Fatal(err)
	}
	return out[0].Float32s()
}
