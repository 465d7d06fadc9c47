package imagedoctor

import (
	"testing"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/qwenvl/qwenvltest"
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
