package evaluators

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/onnx"
	"github.com/denseflow/densereward/engine/ort"
	colourfulness "github.com/denseflow/densereward/examples/evaluator"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
)

func TestSpecsAreReadFromTheirShortFormAndFromTables(t *testing.T) {
	for text, want := range map[string]Spec{
		"doctor=imagedoctor:/models/a:b": {Name: "doctor", Kind: "imagedoctor", Source: "/models/a:b"},
		"ocr=ocr":                        {Name: "ocr", Kind: "ocr"},
		"far=remote:http://host:80/?a=b": {Name: "far", Kind: "remote", Source: "http://host:80/?a=b"},
		`{"name": "a", "kind": "clip", "source": "/x", "device": ["cuda:1"], "batch": 4, "head": "h"}`: {
			Name: "a", Kind: "clip", Source: "/x", Device: []string{"cuda:1"}, Batch: 4,
			Options: Options{"head": []byte(`"h"`)},
		},
	} {
		var got Spec
		if err := got.UnmarshalText([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if len(got.Options) == 0 {
			got.Options = nil
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", text, got, want)
		}
	}
	for name, text := range map[string]string{
		"no kind at all":            "doctor",
		"an empty name":             "=ocr",
		"an empty kind":             "a=",
		"a name with a space":       "a b=ocr",
		"a name of a hundred bytes": strings.Repeat("a", 100) + "=ocr",
		"a table without a kind":    `{"name": "a"}`,
		"a table with a bad batch":  `{"name": "a", "kind": "ocr", "batch": -1}`,
		"a source that is a number": `{"name": "a", "kind": "ocr", "source": 7}`,
		"a table cut short":         `{"name": "a"`,
	} {
		var s Spec
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%s: taken for %+v", name, s)
		}
	}
}

// fakes is a registry of a kind that runs everywhere, one that runs once and one
// made of others.
func fakes(opened *[]Place) Registry {
	open := func(_ context.Context, s Spec, at Place) (reward.Evaluator, error) {
		*opened = append(*opened, at)
		if s.Source == "broken" {
			return nil, errors.New("told to")
		}
		return &rewardtest.Fake{Fingerprint: s.Source}, nil
	}
	return Registry{
		{Name: "model", Everywhere: true, Open: open},
		Plain("plain", func() reward.Evaluator { return &rewardtest.Fake{} }),
		{Name: "made", Open: func(_ context.Context, s Spec, at Place) (reward.Evaluator, error) { return at.Member(s.Source) }},
	}
}

func TestThePlanSharesDevicesAndCores(t *testing.T) {
	plan, err := fakes(nil).Plan([]Spec{
		{Name: "a", Kind: "model"},
		{Name: "b", Kind: "model", Device: []string{"cpu"}, Batch: 3},
		{Name: "c", Kind: "plain"},
	}, Defaults{Devices: []string{"cpu", "cuda:1"}, Batch: 16}, 8)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(plan[0].Devices, []string{"cpu", "cuda:1"}) || plan[0].Threads != 4 || plan[0].Batch != 16 {
		t.Errorf("a: %+v", plan[0])
	}
	if !reflect.DeepEqual(plan[1].Devices, []string{"cpu"}) || plan[1].Threads != 4 || plan[1].Batch != 3 {
		t.Errorf("b: %+v", plan[1])
	}
	if plan[2].Devices != nil || !UsesCUDA(plan) || UsesCUDA(plan[1:]) {
		t.Errorf("c: %+v", plan[2])
	}
	var log bytes.Buffer
	Log(slog.New(slog.NewTextHandler(&log, nil)), plan)
	for _, part := range []string{`evaluator=a kind=model source="" devices="cpu shared by 2, cuda:1" cpu_threads=4 batch=16`, `evaluator=c kind=plain source="" devices=none`} {
		if !strings.Contains(log.String(), part) {
			t.Errorf("the log has no %s:\n%s", part, &log)
		}
	}
	alone, err := fakes(nil).Plan([]Spec{{Name: "a", Kind: "model"}}, Defaults{Devices: []string{"cpu"}, Batch: 16}, 8)
	if err != nil || alone[0].Threads != 0 {
		t.Errorf("alone: %+v, %v; want all cores", alone, err)
	}
}

func TestAPlanThatCannotBeIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		specs []Spec
		want  string
	}{
		"an unknown kind":            {[]Spec{{Name: "a", Kind: "fortune"}}, `evaluator a: kind "fortune" is none of model, plain, made`},
		"two of one name":            {[]Spec{{Name: "a", Kind: "model"}, {Name: "a", Kind: "plain"}}, "evaluator a: two have this name"},
		"an unknown device":          {[]Spec{{Name: "a", Kind: "model", Device: []string{"tpu"}}}, `evaluator a: device: "tpu" is none of`},
		"a device that means nought": {[]Spec{{Name: "a", Kind: "plain", Device: []string{"cpu"}}}, "evaluator a: device: kind plain runs on none"},
	} {
		if _, err := fakes(nil).Plan(c.specs, Defaults{Devices: []string{"cpu"}}, 1); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}

func open(t *testing.T, opened *[]Place, specs ...Spec) (*Set, error) {
	t.Helper()
	plan, err := fakes(opened).Plan(specs, Defaults{Devices: []string{"cpu", "cuda:1"}, Batch: 16}, 8)
	if err != nil {
		t.Fatal(err)
	}
	return Open(t.Context(), plan, func() (*ort.Runtime, error) { return nil, errors.New("not here") }, here)
}

func TestEvaluatorsAreOpenedWhereThePlanSays(t *testing.T) {
	var opened []Place
	set, err := open(t, &opened, Spec{Name: "a", Kind: "model", Source: "x"}, Spec{Name: "b", Kind: "made", Source: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if len(opened) != 2 || opened[0].Provider.Kind != ort.CPU || opened[1].Provider.Device != 1 || opened[0].Threads != 0 {
		t.Errorf("opened at %+v", opened)
	}
	a, b := set.Hosted[0], set.Hosted[1]
	if len(a.Evaluators) != 2 || a.Description.Name != "a" || a.Description.Fingerprint != "x" || len(b.Evaluators) != 1 || b.Description.Name != "b" {
		t.Errorf("hosted %+v and %+v", a, b)
	}
	if err := set.Close(); err != nil {
		t.Error(err)
	}
}

// operating is an evaluator whose graph may have custom operators.
type operating struct {
	reward.Evaluator
	in      onnx.Operators
	without error
}

func (o operating) Operators() (onnx.Operators, error) { return o.in, o.without }

func TestTheLogNamesOperatorsInUseAndWarnsOnceWhereNoneLoad(t *testing.T) {
	none := errors.New("custom operators are not available on cuda:1: an old driver")
	host := func(name string, devices []string, of ...reward.Evaluator) Hosted {
		return Hosted{Assignment: Assignment{Spec: Spec{Name: name}, Devices: devices}, Evaluators: of}
	}
	set := &Set{Hosted: []Hosted{
		host("a", []string{"cpu", "cuda:0", "cuda:1"}, operating{}, operating{in: onnx.FusedSwiGLU | onnx.FusedArgMax}, operating{without: none}),
		host("b", []string{"cuda:1"}, operating{without: none}),
		host("c", nil, colourfulness.Evaluator{}),
	}}
	var log bytes.Buffer
	set.LogOperators(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})))
	want := `level=INFO msg="custom operators" evaluator=a device=cuda:0 operators=swiglu,argmax
level=INFO msg="custom operators" evaluator=a device=cuda:1 operators=none
level=WARN msg="graphs have plain nodes in place of custom operators, and are slower" error="custom operators are not available on cuda:1: an old driver"
level=INFO msg="custom operators" evaluator=b device=cuda:1 operators=none
`
	if log.String() != want {
		t.Errorf("the log says\n%s\nwant\n%s", log.String(), want)
	}
}

func TestBatchesInFlightAreOfGPUsAlone(t *testing.T) {
	cpu, gpu := &operating{}, &operating{}
	h := Hosted{Assignment: Assignment{Devices: []string{"cpu", "cuda:0"}, InFlight: 3}, Evaluators: []reward.Evaluator{cpu, gpu}}
	if got := h.Scheduled(); !slices.Equal(got, []reward.Evaluator{cpu, gpu, gpu, gpu}) || len(h.Evaluators) != 2 {
		t.Errorf("scheduled are %v", got)
	}
	h = Hosted{Evaluators: []reward.Evaluator{cpu}} // of a kind that runs on no device
	if got := h.Scheduled(); len(got) != 1 {
		t.Errorf("scheduled are %v", got)
	}
}

func TestWhatCannotBeOpenedNamesItsEvaluator(t *testing.T) {
	for name, specs := range map[string][]Spec{
		"a kind that fails":             {{Name: "a", Kind: "model", Source: "broken"}},
		"a source that means nought":    {{Name: "a", Kind: "plain", Source: "x"}},
		"an option that means nought":   {{Name: "a", Kind: "plain", Options: Options{"x": []byte("1")}}},
		"a member that is not there":    {{Name: "a", Kind: "made", Source: "z"}},
		"a member that is listed later": {{Name: "a", Kind: "made", Source: "b"}, {Name: "b", Kind: "plain"}},
	} {
		var opened []Place
		if _, err := open(t, &opened, specs...); err == nil || !strings.HasPrefix(err.Error(), "evaluator a: ") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestOptionsAreCheckedByTheirKinds(t *testing.T) {
	for name, s := range map[string]Spec{
		"an unknown option of imagedoctor": {Kind: "imagedoctor", Options: Options{"colour": []byte(`"red"`)}},
		"operators that are none":          {Kind: "imagedoctor", Options: Options{"operators": []byte(`"gelu"`)}},
		"a penalty of nothing":             {Kind: "imagedoctor", Options: Options{"repetition-penalty": []byte("0")}},
		"a text for a number":              {Kind: "imagedoctor", Options: Options{"max-new-tokens": []byte(`"many"`)}},
		"an aesthetic score without head":  {Kind: "aesthetic", Source: "x"},
		"a CLIP score without source":      {Kind: "pickscore"},
		"an unknown option of ocr":         {Kind: "ocr", Options: Options{"long-side": []byte("1")}},
	} {
		kind, err := Kinds().find(s.Kind)
		if err != nil {
			t.Fatal(err)
		}
		runtime := func() (*ort.Runtime, error) { return nil, errors.New("loaded though the options are wrong") }
		if _, err := kind.Open(t.Context(), s, Place{Runtime: runtime, Path: here}); err == nil || strings.Contains(err.Error(), "loaded though") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// CONTRIBUTING.md promises that one line makes a kind.
func TestAKindIsOneLine(t *testing.T) {
	registry := append(Kinds(),
		Plain("colourfulness", func() reward.Evaluator { return colourfulness.Evaluator{} }),
	)
	plan, err := registry.Plan([]Spec{{Name: "colours", Kind: "colourfulness"}}, Defaults{Devices: []string{"cpu"}, Batch: 2}, 1)
	if err != nil {
		t.Fatal(err)
	}
	set, err := Open(t.Context(), plan, func() (*ort.Runtime, error) { return nil, errors.New("not needed") }, here)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	colours := set.Hosted[0]
	results, err := colours.Evaluators[0].Evaluate(t.Context(), []reward.Sample{{Image: rewardtest.Image(1, 8, 8), Mode: reward.ModeAnswer}})
	if err != nil || results[0].Err != nil || results[0].Scores[0] <= 0 || colours.Description.Name != "colours" {
		t.Errorf("got %+v, %v", results, err)
	}
}

// here is a Place's Path without a hub.
func here(_ context.Context, source string) (string, error) { return source, nil }
