package qwenvl

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/orttest"
)

const (
	// nanoDir is a miniature of ImageDoctor, a Qwen2.5-VL with heads.
	nanoDir = "../imagedoctor/nano"
	// casesDir is what the reference computes with it.
	casesDir = "../imagedoctor/testdata/cases"
)

func loadJSON(t testing.TB, path string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(readText(t, path)), v); err != nil {
		t.Fatal(err)
	}
}

func readText(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// refCase is what the reference computes for one image, in float32 on a CPU.
type refCase struct {
	Name         string  `json:"name"`
	InputIDs     []int32 `json:"input_ids"`
	GeneratedIDs []int32 `json:"generated_ids"`

	// The positions of three prompt tokens: temporal, row, column.
	PositionTail       [3]int `json:"position_ids_tail"`
	PositionImageFirst [3]int `json:"position_ids_image_first"`
	PositionImageLast  [3]int `json:"position_ids_image_last"`
}

func readCases(t testing.TB) []refCase {
	t.Helper()
	var cases []refCase
	loadJSON(t, casesDir+"/cases.json", &cases)
	if len(cases) != 6 {
		t.Fatalf("%d cases, not 6", len(cases))
	}
	return cases
}

func openSession(t *testing.T, g *onnx.Graph, o ort.SessionOptions) *ort.Session {
	t.Helper()
	model, err := g.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	s, err := orttest.Open(t).NewSession(model, g.InputNames(), g.OutputNames(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing a session: %v", err)
		}
	})
	return s
}
