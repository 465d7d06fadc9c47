package ort_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/orttest"
	onnx "github.com/yalue/onnxruntime_go"
)

// The pointer to the runtime's options is read from there.
func TestTheBindingsOptionsAreOnePointer(t *testing.T) {
	options := reflect.TypeFor[onnx.SessionOptions]()
	if options.NumField() != 1 {
		t.Fatalf("%d fields", options.NumField())
	}
	if f := options.Field(0); f.Name != "o" || f.Type.Kind() != reflect.Pointer || !strings.HasSuffix(f.Type.Elem().Name(), "OrtSessionOptions") {
		t.Errorf("field %s of type %v", f.Name, f.Type)
	}
}

func TestOperatorsAreRefusedWhereThereIsNoGPU(t *testing.T) {
	r := orttest.Open(t)
	if err := r.LoadOperators(ort.Provider{}); !errors.Is(err, ort.ErrNoOperators) {
		t.Errorf("on a CPU: %v", err)
	}
	if err := r.LoadFP8(ort.Provider{}); !errors.Is(err, ort.ErrNoOperators) || !strings.Contains(err.Error(), "fp8") {
		t.Errorf("eight bits on a CPU: %v", err)
	}
	err := r.LoadOperators(ort.Provider{Kind: ort.CUDA})
	if _, none := ort.Devices(); none != nil {
		if !errors.Is(err, ort.ErrNoOperators) || !strings.Contains(err.Error(), "driver") {
			t.Errorf("without a driver: %v", err)
		}
	} else if err != nil {
		t.Error(err)
	}
	_, err = r.NewSession(addition(), []string{"x"}, []string{"y"}, ort.SessionOptions{CustomOperators: true})
	if !errors.Is(err, ort.ErrNoOperators) {
		t.Errorf("a session on a CPU: %v", err)
	}
}
