package imagedoctor

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/orttest"
	"github.com/denseflow/densereward/engine/qwenvl"
	"github.com/denseflow/densereward/engine/qwenvl/qwenvltest"
	"github.com/denseflow/densereward/internal/numtest"
	"github.com/denseflow/densereward/reward"
)

// What a graph with custom operators has around them, joined weights, their order and
// what is cut where, is held against the reference with plain nodes in their place.
func TestTheReferencesCasesWithWhatOperatorsStandFor(t *testing.T) {
	t.Parallel()
	_, samples := refSamples(t)
	samples = samples[:few(2, len(samples))]
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

// Operators round elsewhere than plain nodes: where two logits are a hair apart in
// float32, answers in bfloat16 are another with either. They must not be further from
// float32's with operators. -imagedoctor.prompts sets on how many.
func TestOperatorsOnAGPUAreAsNearToFloat32AsPlainNodes(t *testing.T) {
	provider := orttest.CUDA(t)[0]
	const rows, most = 16, 120
	for name, f := range map[string]form{"as the model begins": {small: true}, "with the published start": {small: true, prefixed: true}, "a token a step": {small: true, noSpeculative: true}} {
		t.Run(name, func(t *testing.T) {
			exact := &probe{formed(t, f, provider, func(o *graphOptions) { o.probes = true })}
			half := func(operators onnx.Operators) *probe {
				return &probe{formed(t, f, provider, func(o *graphOptions) {
					o.DType, o.heads, o.Paged, o.probes, o.Operators = onnx.BFloat16, onnx.Float16, true, true, operators
				})}
			}
			plain, fused := half(0), half(onnx.AllOperators)
			rng := rand.New(rand.NewPCG(20, 1))
			all := prompts(64)
			var parted [2]int   // with plain nodes and operators, from float32
			among := 0          // from each other
			var away [2]float64 // the logits behind the prompts, summed
			for n := all; n > 0; n -= rows {
				var ready []*prepared
				for range min(n, rows) {
					ready = append(ready, anyPrompt(t, rng, fused.Evaluator))
				}
				want := exact.answers(t, ready, most)
				var got [2]answers
				for k, p := range []*probe{plain, fused} {
					got[k] = p.answers(t, ready, most)
					away[k] += numtest.Compare(got[k].logits, want.logits).Mean * float64(len(ready)) / float64(all)
					for i := range ready {
						if parting(got[k].ids[i], want.ids[i]) >= 0 {
							parted[k]++
						}
					}
				}
				for i := range ready {
					if parting(got[0].ids[i], got[1].ids[i]) >= 0 {
						among++
					}
				}
			}
			t.Logf("of %d answers %d differ from float32's with plain nodes and %d with operators, %d from each other; logits are %.5f and %.5f away on average",
				all, parted[0], parted[1], among, away[0], away[1])
			if away[1] > 1.02*away[0] {
				t.Errorf("logits are %v away from float32 with operators, %v with plain nodes", away[1], away[0])
			}
			if spread := 3 * math.Sqrt(float64(parted[0]+1)); float64(parted[1]) > float64(parted[0])+spread {
				t.Errorf("%d answers differ from float32's with operators, %d with plain nodes", parted[1], parted[0])
			}
		})
	}
}

// answers are what a probe has of some prompts.
type answers struct {
	ids    [][]int32
	logits []float32 // behind the prompts
}

func (p *probe) answers(t *testing.T, ready []*prepared, most int) (a answers) {
	t.Helper()
	b := p.joined(reward.ModeAnswer, ready)
	b.MaxNewTokens = most
	out := p.run(t, b)
	a.logits = out[outputLogits].Float32s()
	for r := range ready {
		a.ids = append(a.ids, qwenvl.AnswerIDs(&p.config.Config, out[outputTokens], r))
	}
	return a
}

// Eight bits round what a token's numbers and a channel's weights are to a sixteenth: logits
// move, by less than they differ from each other, and nothing else changes.
func TestProductsInEightBitsAreNearThoseInFloat32(t *testing.T) {
	t.Parallel()
	_, samples := refSamples(t)
	var logits [3][]float32
	for i, operators := range []onnx.Operators{0, onnx.FP8 | onnx.WrittenOut, onnx.AllOperators | onnx.FP8 | onnx.WrittenOut} {
		p := &probe{formed(t, form{small: true}, ort.Provider{}, func(o *graphOptions) { o.probes, o.Operators = true, operators })}
		var ready []*prepared
		for _, s := range processed(t, p.Evaluator, samples) {
			ready = append(ready, s.Prepared.(*prepared))
		}
		logits[i] = p.answers(t, ready, 8).logits
	}
	apart, same := numtest.Compare(logits[1], logits[0]), numtest.Compare(logits[2], logits[1])
	t.Logf("from float32: %v; with what operators stand for: %v", apart, same)
	if apart.Mean == 0 || apart.Rel > 0.2 {
		t.Errorf("logits in eight bits are %v away from float32's", apart)
	}
	if same.Rel > 0.05 {
		t.Errorf("logits with what operators stand for are %v away from those without", same)
	}
}

// A card's products in eight bits are as near to float32's as those of plain nodes that
// round the same way.
func TestProductsInEightBitsOnAGPUAreThoseOfPlainNodes(t *testing.T) {
	provider := orttest.CUDA(t)[0]
	cases, samples := refSamples(t)
	var logits [3][]float32
	for i, of := range []struct {
		p         ort.Provider
		operators onnx.Operators
	}{{provider, onnx.AllOperators | onnx.FP8}, {ort.Provider{}, onnx.FP8 | onnx.WrittenOut}, {ort.Provider{}, 0}} {
		p := &probe{formed(t, form{}, of.p, func(o *graphOptions) {
			o.probes, o.Operators = true, of.operators
			if of.p.Kind == ort.CUDA {
				o.DType, o.heads, o.Paged = onnx.BFloat16, onnx.Float16, true
			}
		})}
		var ready []*prepared
		for _, s := range processed(t, p.Evaluator, samples) {
			ready = append(ready, s.Prepared.(*prepared))
		}
		a := p.answers(t, ready, 120)
		logits[i] = a.logits
		equal := 0
		for n, ids := range a.ids {
			if parting(ids, cases[n].GeneratedIDs) < 0 {
				equal++
			}
		}
		t.Logf("%v %b: %d of %d answers are the reference's", of.p, of.operators, equal, len(cases))
	}
	card, plain, apart := numtest.Compare(logits[0], logits[2]), numtest.Compare(logits[1], logits[2]), numtest.Compare(logits[0], logits[1])
	t.Logf("from float32: on the card %v, by plain nodes %v; from each other %v", card, plain, apart)
	if card.Mean > 2*plain.Mean || apart.Mean > 2*plain.Mean {
		t.Errorf("logits in eight bits are %v away from float32's on the card, %v by plain nodes and %v from each other", card, plain, apart)
	}
}
