package imagedoctor

import (
	"errors"
	"maps"
	"testing"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/ort/orttest"
	"github.com/denseflow/densereward/engine/qwenvl"
)

func TestTheDeviceChoosesTheFormOfTheGraph(t *testing.T) {
	gpu := ort.Provider{Kind: ort.CUDA}
	for name, test := range map[string]struct {
		o            Options
		dtype, heads onnx.DType
		paged        bool
		want         map[string]string // options of the provider
	}{
		"a CPU": {Options{}, onnx.Float32, onnx.Float32, false, nil},
		"a GPU": {Options{Provider: gpu}, onnx.BFloat16, onnx.Float16, true, map[string]string{"prefer_nhwc": "1"}},
		"a GPU to compare with": {Options{Provider: gpu, Float32: true}, onnx.Float32, onnx.Float32, false,
			map[string]string{"use_tf32": "0"}},
		"a GPU with options": {Options{Provider: ort.Provider{Kind: ort.CUDA, Options: map[string]string{"prefer_nhwc": "0", "x": "y"}}},
			onnx.BFloat16, onnx.Float16, true, map[string]string{"prefer_nhwc": "0", "x": "y"}},
	} {
		t.Run(name, func(t *testing.T) {
			test.o.RepetitionPenalty = 1
			e := &Evaluator{options: test.o}
			o := e.form()
			if o.DType != test.dtype || o.heads != test.heads || o.Paged != test.paged || o.Penalty {
				t.Errorf("%+v", o)
			}
			before := maps.Clone(test.o.Provider.Options)
			if got := qwenvl.Provider(test.o.Provider, o.DType).Options; !maps.Equal(got, test.want) {
				t.Errorf("options %v, want %v", got, test.want)
			}
			if !maps.Equal(test.o.Provider.Options, before) {
				t.Errorf("the caller's options are now %v", test.o.Provider.Options)
			}
		})
	}
}

func TestEightBitsAreOfOperatorsOnAGPUAndOfPlainNodesElsewhere(t *testing.T) {
	gpu := ort.Provider{Kind: ort.CUDA}
	for name, test := range map[string]struct {
		o    Options
		want onnx.Operators
	}{
		"a CPU":                 {Options{FP8: true}, onnx.FP8 | onnx.WrittenOut},
		"a GPU":                 {Options{FP8: true, Provider: gpu}, onnx.FP8 | onnx.FusedArgMax},
		"a GPU to compare with": {Options{FP8: true, Provider: gpu, Float32: true}, onnx.FP8 | onnx.WrittenOut},
		"not asked for":         {Options{Provider: gpu}, onnx.FusedArgMax},
	} {
		if got := (&Evaluator{options: test.o, operators: onnx.FusedArgMax}).form().Operators; got != test.want {
			t.Errorf("%s: %b, want %b", name, got, test.want)
		}
	}
}

func TestThePenaltyIsPartOfTheGraphOnlyWhereItHasAnEffect(t *testing.T) {
	for penalty, want := range map[float64]bool{1: false, 1.05: true, 0.5: true} {
		e := &Evaluator{options: Options{RepetitionPenalty: penalty}}
		if got := e.form().Penalty; got != want {
			t.Errorf("penalty %v: %t", penalty, got)
		}
	}
}

func TestAClosedEvaluatorSaysSo(t *testing.T) {
	e, err := Load(orttest.Open(t), form{small: true}.folder(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	_, samples := refSamples(t)
	if _, err := e.Evaluate(t.Context(), samples[:1]); !errors.Is(err, ort.ErrClosed) {
		t.Errorf("Evaluate: %v", err)
	}
}
