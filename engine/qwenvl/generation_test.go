package qwenvl

import (
	"fmt"
	"slices"
	"testing"

	"github.com/denseflow/densereward/engine/image/resize"
	"github.com/denseflow/densereward/engine/initializers"
	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/orttest"
	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
	"github.com/denseflow/densereward/engine/qwenvl/qwenvltest"
)

// families are the miniatures of testdata.
var families = map[checkpoint.Family]string{checkpoint.Qwen25VL: "testdata/qwen25vl-nano", checkpoint.Qwen3VL: "testdata/qwen3vl-nano"}

// Rooms that are left after three tokens, after nine, and after all.
func TestAnswersThatOutgrowTheirRoomGoOn(t *testing.T) {
	for family, name := range families {
		for _, rooms := range [][]int64{{3, 9}, {1}, {24}, {30, 40}} {
			answersOf(t, fmt.Sprintf("%s, rooms %v", family, rooms), name, 0, 5, func(o *Options, _ checkpoint.Grid) { o.rooms = rooms })
		}
	}
}

// The tower needs no loop over sizes where there is one.
func TestAGridKnownAheadChangesNoAnswer(t *testing.T) {
	for family, name := range families {
		for i := range 5 {
			answersOf(t, fmt.Sprintf("%s, grid of case %d", family, i), name, i, i+1, func(o *Options, g checkpoint.Grid) { o.Grid = g })
		}
	}
}

// answersOf holds the answers of some cases, in a form of the graph that change makes
// for the first one's grid, against the reference's.
func answersOf(t *testing.T, what, name string, from, to int, change func(*Options, checkpoint.Grid)) {
	t.Helper()
	folder, err := checkpoint.Open(qwenvltest.Folder(t, name))
	if err != nil {
		t.Fatal(err)
	}
	c := folder.Config
	cases, _ := qwenvltest.Cases(t, name)
	var prompts []Prompt
	for _, want := range cases[from:to] {
		prompts = append(prompts, reference(t, c, want))
	}
	g := onnx.New("form")
	o := Options{DType: onnx.Float32}
	change(&o, c.Grid(prompts[0].Images[0]))
	m := NewGraph(g, initializers.New(g, folder.Weights, "test"), c, o)
	const answer = "generated_ids"
	g.Output(answer, m.Answer)
	if err := m.Err(); err != nil {
		t.Fatal(err)
	}
	s, err := OpenSession(orttest.Open(t), g, folder.Weights, ort.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	out, err := s.Run(t.Context(), Batch{Prompts: prompts, MaxNewTokens: 24, Penalty: 1}.Inputs(c))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range cases[from:to] {
		if got := AnswerIDs(&c, out[answer], i); !slices.Equal(got, want.GeneratedIDs) {
			t.Errorf("%s: case %d generated %v\nwant %v", what, from+i, got, want.GeneratedIDs)
		}
	}
}

// reference is the prompt of a case with its image as the processor resizes it.
func reference(t *testing.T, c checkpoint.Config, want qwenvltest.Case) Prompt {
	t.Helper()
	h, w, err := c.SmartResize(want.Height, want.Width)
	if err != nil {
		t.Fatal(err)
	}
	p, err := LayOut(c, want.InputIDs, resize.ResizeTorch(qwenvltest.Pattern(want.Width, want.Height), w, h))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTokensThatEndAnAnswerAreFewSpans(t *testing.T) {
	for _, tt := range []struct {
		name string
		ids  []int32
		want []span
	}{
		{"one", []int32{7}, []span{{7, 7}}},
		{"the published ones", []int32{151645, 151643}, []span{{151643, 151643}, {151645, 151645}}},
		{"all of a vocabulary, in no order and twice", []int32{2, 0, 1, 1}, []span{{0, 2}}},
		{"two runs", []int32{4, 5, 9, 10, 11}, []span{{4, 5}, {9, 11}}},
	} {
		if got := spans(tt.ids); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
