package imagedoctor

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/engine/image/resize"
	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/orttest"
	"github.com/denseflow/densereward/engine/qwenvl"
	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
	"github.com/denseflow/densereward/engine/qwenvl/qwenvltest"
	"github.com/denseflow/densereward/engine/safetensors"
	"github.com/denseflow/densereward/internal/npy"
	"github.com/denseflow/densereward/reward"
)

const casesDir = "testdata/cases"

// readArrays reads an archive of the reference's arrays.
func readArrays(t testing.TB, file string) map[string][]float32 {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(casesDir, file))
	if err != nil {
		t.Fatal(err)
	}
	arrays, err := npy.ReadZip(bytes.NewReader(data), int64(len(data)), 1<<26)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]float32{}
	for name, a := range arrays {
		if out[name], err = a.Float32s(); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// refSamples are the reference's cases with their images.
func refSamples(t testing.TB) ([]qwenvltest.NanoCase, []reward.Sample) {
	t.Helper()
	cases := qwenvltest.ReadNanoCases(t, "cases.json")
	samples := make([]reward.Sample, len(cases))
	for i, c := range cases {
		data, err := os.ReadFile(filepath.Join(casesDir, c.Name+".png"))
		if err != nil {
			t.Fatal(err)
		}
		image, err := image.Decode(data, image.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		samples[i] = reward.Sample{Image: image, Prompt: c.Prompt}
	}
	return cases, samples
}

// form is a way to run the nano checkpoint. The zero value drafts along the
// template of answers that begin as the model likes, like the reference's.
type form struct {
	prefixed      bool           // with the published start of the answer
	noSpeculative bool           // without draft tokens
	penalty       float64        // 0 for none
	operators     onnx.Operators // on a GPU
	small         bool           // with images of 5x5 image tokens, which take little time
}

// loaded are the evaluators that tests share: loading one takes longer than most
// tests. They stay open until the process ends.
var loaded struct {
	sync.Mutex
	evaluators map[form]*Evaluator
}

// nanoEvaluator is the evaluator of a form on the CPU, shared by all tests.
func nanoEvaluator(t testing.TB, f form) *Evaluator {
	t.Helper()
	loaded.Lock()
	defer loaded.Unlock()
	if e, ok := loaded.evaluators[f]; ok {
		return e
	}
	e, err := Load(orttest.Open(t), f.folder(t), f.options())
	if err != nil {
		t.Fatal(err)
	}
	if loaded.evaluators == nil {
		loaded.evaluators = map[form]*Evaluator{}
	}
	loaded.evaluators[f] = e
	return e
}

func (f form) options() Options {
	// Many tests run at a time: threads of their sessions would wait for each other.
	o := Options{NoSpeculative: f.noSpeculative, RepetitionPenalty: f.penalty, Operators: &f.operators, Threads: 1}
	if !f.prefixed {
		o.Prefix = new(string)
	}
	return o
}

func (f form) folder(t testing.TB) string {
	t.Helper()
	if !f.small {
		return "nano"
	}
	return linked(t, map[string]string{checkpoint.PreprocessorFile: qwenvltest.SmallImages})
}

// formed is an evaluator of a test's own on a provider, with the form of its graph
// changed.
func formed(t *testing.T, f form, p ort.Provider, change func(o *graphOptions)) *Evaluator {
	t.Helper()
	o := f.options()
	o.RepetitionPenalty = max(f.penalty, 1)
	e, err := open(f.folder(t), o)
	if err != nil {
		t.Fatal(err)
	}
	graph := e.form()
	change(&graph)
	g, err := buildGraph(e.config, e.checkpoint.Weights, graph)
	if err != nil {
		t.Fatal(err)
	}
	e.session, err = qwenvl.OpenSession(orttest.Open(t), g, e.checkpoint.Weights, ort.SessionOptions{Provider: qwenvl.Provider(p, graph.DType), Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("closing an evaluator: %v", err)
		}
	})
	return e
}

// linked is a folder of links to the nano checkpoint's files, with the given
// files in place of some of them. An empty content leaves the file out.
func linked(t testing.TB, files map[string]string) string {
	t.Helper()
	return qwenvltest.LinkNano(t, "nano", files)
}

// evaluate is Evaluate where no sample may fail.
func evaluate(t testing.TB, e *Evaluator, samples []reward.Sample) []reward.Result {
	t.Helper()
	results, err := e.Evaluate(t.Context(), samples)
	if err != nil {
		t.Fatal(err)
	}
	return whole(t, results)
}

// generate is evaluate of one batch of a mode with at most most new tokens.
func generate(t testing.TB, e *Evaluator, mode reward.Mode, samples []reward.Sample, most int) []reward.Result {
	t.Helper()
	ready := make([]*prepared, len(samples))
	for i := range samples {
		s := samples[i]
		s.Mode = mode
		if err := e.Prepare(t.Context(), &s); err != nil {
			t.Fatal(err)
		}
		ready[i] = s.Prepared.(*prepared)
	}
	return answer(t, e, mode, ready, most)
}

// answer is generate of samples that are prepared.
func answer(t testing.TB, e *Evaluator, mode reward.Mode, ready []*prepared, most int) []reward.Result {
	t.Helper()
	b := e.joined(mode, ready)
	b.MaxNewTokens = most
	out, err := e.session.Run(t.Context(), e.inputs(b))
	if err != nil {
		t.Fatal(err)
	}
	results := make([]reward.Result, len(ready))
	for i, p := range ready {
		results[i] = e.result(p, out, i)
	}
	return whole(t, results)
}

// whole is results, none of which may be an error.
func whole(t testing.TB, results []reward.Result) []reward.Result {
	t.Helper()
	for i, r := range results {
		if r.Err != nil {
			t.Fatalf("sample %d: %v", i, r.Err)
		}
	}
	return results
}

// heatmaps are those of a result by the names that the reference gives them.
func heatmaps(r reward.Result) map[string]reward.Map {
	return map[string]reward.Map{"misalignment": r.Maps[Misalignment], "artifact": r.Maps[Artifact]}
}

// answerTensors are outputs of the graph for one row that said text.
func answerTensors(e *Evaluator, text string) map[string]ort.Tensor {
	var ids []int64
	for _, id := range e.tokenizer.Encode(text) {
		ids = append(ids, int64(id))
	}
	return map[string]ort.Tensor{
		outputTokens:   ort.Int64s([]int64{1, int64(len(ids))}, ids),
		outputHeatmaps: ort.Float32s([]int64{1, kinds, 1, 1}, make([]float32, kinds)),
		outputFound:    ort.Bools([]int64{1, kinds}, []bool{true, true}),
	}
}

func openCheckpoint(t *testing.T, dir string) *safetensors.Checkpoint {
	t.Helper()
	c, err := safetensors.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// edit returns the nano configuration with keys set, or removed where the value
// is nil. A key of the vision tower is written vision_config.key.
func edit(t *testing.T, changes map[string]any) string {
	t.Helper()
	return qwenvltest.EditConfig(t, "nano/config.json", changes)
}

// processed is samples prepared for e with images as the reference's arrays were
// computed from: squashed by Pillow and then resized by the processor, by torch's
// filter. The published scripts never reach that step, since their images come to it
// in the right size.
func processed(t testing.TB, e *Evaluator, samples []reward.Sample) []reward.Sample {
	t.Helper()
	all := make([]reward.Sample, len(samples))
	side := e.config.ImageSide()
	for i, s := range samples {
		if err := e.Prepare(t.Context(), &s); err != nil {
			t.Fatal(err)
		}
		square := resize.Resize(s.Image, SquareSide, SquareSide)
		s.Prepared.(*prepared).Images = []*reward.Image{resize.ResizeTorch(square, side, side)}
		all[i] = s
	}
	return all
}

// publishedText is the form of an answer with the tokens' usual spelling.
var publishedText = answerText(misalignmentToken, artifactToken)

// nanoConfig is the miniature's configuration.
func nanoConfig(t testing.TB) Config {
	t.Helper()
	c, err := LoadConfig("nano")
	if err != nil {
		t.Fatal(err)
	}
	return c
}
