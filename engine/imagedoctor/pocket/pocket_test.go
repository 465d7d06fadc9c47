package pocket_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/engine/imagedoctor"
	"github.com/denseflow/densereward/engine/ort/orttest"
	"github.com/denseflow/densereward/internal/numtest"
	"github.com/denseflow/densereward/reward"
)

// heldOut is a scene that training did not draw and what the PyTorch model says
// of it, by testdata/make_cases.py.
type heldOut struct {
	Image   string    `json:"image"`
	Truth   []float64 `json:"truth"`
	Answers []answer  `json:"answers"`
}

type answer struct {
	Mode         reward.Mode `json:"mode"`
	Prompt       string      `json:"prompt"`
	InputIDs     []int32     `json:"input_ids"` // without the image's
	GeneratedIDs []int32     `json:"generated_ids"`
	Text         string      `json:"text"` // without the answer prefix
	Scores       []float64   `json:"scores"`
	Maps         [][]float32 `json:"maps"` // misalignment and artifact on coarse
}

// everyScene adds what takes most of the time.
var everyScene = flag.Bool("every-scene", false, "answer all held-out scenes in both modes [six of them, two in mode think]")

// told tells whether scene i is answered in a mode.
func told(i int, mode reward.Mode) bool {
	return *everyScene || i < 2 || i < 6 && mode != reward.ModeThink
}

// coarse is the grid of the maps that are kept, as means.
var coarse = dense.Grid{Height: 16, Width: 16}

// mapBound is far above what the order of float32 sums changes (2e-5 on the
// miniature) and far below what anyone sees.
const mapBound = 1e-3

func TestHeldOutScenesAreAnsweredAsThePyTorchModelAnswersThem(t *testing.T) {
	var cases []heldOut
	data, err := os.ReadFile("testdata/cases.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) != 20 {
		t.Fatalf("%d scenes, want 20", len(cases))
	}
	e, err := imagedoctor.Load(orttest.Open(t), ".", imagedoctor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	var samples []reward.Sample
	var want []answer
	for i, c := range cases {
		img := decode(t, c.Image)
		for _, a := range c.Answers {
			if told(i, a.Mode) {
				samples = append(samples, reward.Sample{Image: img, Prompt: a.Prompt, Mode: a.Mode})
				want = append(want, a)
			}
		}
	}
	results, err := e.Evaluate(t.Context(), samples)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Err != nil {
			t.Fatalf("%q: %v", want[i].Prompt, r.Err)
		}
		same(t, r, want[i])
	}
}

func decode(t *testing.T, name string) *reward.Image {
	t.Helper()
	file, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	img, err := image.Decode(file, image.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

var box = regexp.MustCompile(`\{"box_2d"[^}]*\}`)

// imageToken stands for a place of the image in a prompt.
const imageToken = 1047

func same(t *testing.T, got reward.Result, want answer) {
	t.Helper()
	ids := slices.DeleteFunc(slices.Clone(got.Trace.InputIDs), func(id int32) bool { return id == imageToken })
	if !slices.Equal(ids, want.InputIDs) {
		t.Errorf("%q: input ids %v\nwant %v", want.Prompt, ids, want.InputIDs)
	}
	if !slices.Equal(got.Trace.GeneratedIDs, want.GeneratedIDs) || !slices.Equal(got.Scores, want.Scores) {
		t.Errorf("%q: %v, %q\nwant %v, %q", want.Prompt, got.Scores, got.Text, want.Scores, want.Text)
	}
	for k, m := range got.Maps {
		means := make([]float32, len(want.Maps[k]))
		dense.AdaptiveAvgPool(means, coarse, m.Data, dense.Grid{Height: m.Height, Width: m.Width})
		if d := numtest.Compare(means, want.Maps[k]); d.Max > mapBound {
			t.Errorf("%q: map %d: %v, bound %g", want.Prompt, k, d, mapBound)
		}
	}
	named := map[string]bool{} // a box counts once
	for _, one := range box.FindAllString(want.Text, -1) {
		named[one] = true
	}
	if len(got.Boxes) != len(named) {
		t.Errorf("%q: boxes %v, said %q", want.Prompt, got.Boxes, want.Text)
	}
}
