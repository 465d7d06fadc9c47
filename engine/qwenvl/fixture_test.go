package qwenvl

import (
	"testing"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/orttest"
)

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
