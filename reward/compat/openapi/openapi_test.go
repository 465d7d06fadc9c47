package openapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/compat"
	"github.com/denseflow/densereward/reward/compat/openapi"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/servertest"
	"github.com/denseflow/densereward/reward/wire"
	"github.com/denseflow/densereward/reward/wire/jsonwire"
	"github.com/vmihailenco/msgpack/v5"
)

type schema struct {
	Properties map[string]schema
	Required   []string
	Enum       []any
	OneOf      []schema
	Items      *schema
}

// document is what the tests read of the description.
type document struct {
	OpenAPI    string
	Paths      map[string]map[string]any
	Components struct{ Schemas map[string]schema }
}

func read(t *testing.T) document {
	t.Helper()
	var d document
	if err := json.Unmarshal(openapi.Document, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func sameNames(t *testing.T, what string, documented, actual []string) {
	t.Helper()
	slices.Sort(documented)
	slices.Sort(actual)
	if !reflect.DeepEqual(documented, actual) {
		t.Errorf("%s: the document has %v, the protocol %v", what, documented, actual)
	}
}

// complete are requests that together give every key.
func complete() []*wire.Request {
	half := 0.5
	images := []wire.Image{{Encoded: []byte("x")}}
	latents := reward.Float32Tensor(make([]float32, 4), 1, 1, 2, 2)
	return []*wire.Request{
		{
			Prompts: []string{"a"}, Images: images, Mode: reward.ModeThink, Grid: reward.GridSpec{Preset: "sd3"}, Evaluator: "x", Missing: reward.MissingError,
			Clamp: true, Rank: true, Groups: reward.Groups{Names: []string{"g"}}, Return: []wire.Return{}, Metadata: []map[string]any{nil},
			Weights:   &reward.Weights{Scores: map[string]float64{}, Maps: map[string]float64{}},
			Advantage: &reward.Advantage{Method: reward.AdvantageBoxFlow, Floor: &half, Smoothing: 1, GlobalStd: true, Penalty: &reward.Penalty{}},
		},
		{Prompts: []string{"a"}, Latents: latents, VAE: "sd3"},
	}
}

func TestRequestsHaveTheDocumentsKeys(t *testing.T) {
	documented := read(t).Components.Schemas["Request"].Properties
	actual := map[string]bool{"map_format": true}
	for _, q := range complete() {
		m, err := q.Encode(wire.DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		var keys map[string]any
		if err := msgpack.Unmarshal(m.Bytes(), &keys); err != nil {
			t.Fatal(err)
		}
		for key := range keys {
			actual[key] = true
		}
	}
	sameNames(t, "requests", slices.Collect(maps.Keys(documented)), slices.Collect(maps.Keys(actual)))
	for key := range documented {
		message, _, err := jsonwire.Request(fmt.Appendf(nil, `{"prompts": ["a"], "images": ["aGk="], %q: 5}`, key))
		if err == nil {
			_, err = wire.DecodeRequest(message, wire.DefaultLimits())
		}
		if errors.Is(err, reward.ErrUnknownField) {
			t.Errorf("%s is documented and unknown", key)
		}
	}
	advantage := documented["advantage"]
	if advantage.Properties == nil {
		t.Fatal("advantage has no properties")
	}
	sameNames(t, "advantage", slices.Collect(maps.Keys(advantage.Properties)), []string{"method", "global_std", "floor", "smoothing", "penalty", "steps"})
}

func TestRequestsAndAnswersOfRFTHaveTheDocumentsKeys(t *testing.T) {
	schemas := read(t).Components.Schemas
	m := reward.Uint8Tensor([]uint8{0}, 1, 1, 1)
	actual := map[string]bool{}
	for _, q := range []*wire.RFTRequest{
		{Completions: []string{""}, Solutions: []string{""}, Misalignment: m, Artifact: m, PredictedMisalignment: m, Groups: []string{""}},
		{Completions: []string{""}, Scores: reward.Float64Tensor(make([]float64, 4), 1, 4), Misalignment: m, Artifact: m},
	} {
		message, err := q.Encode(wire.DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		var keys map[string]any
		if err := msgpack.Unmarshal(message.Bytes(), &keys); err != nil {
			t.Fatal(err)
		}
		for key := range keys {
			actual[key] = true
		}
	}
	sameNames(t, "requests", slices.Collect(maps.Keys(schemas["RFTRequest"].Properties)), slices.Collect(maps.Keys(actual)))
	text, err := jsonwire.RFTResponse(&wire.RFTResponse{})
	if err != nil {
		t.Fatal(err)
	}
	var answer map[string]any
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatal(err)
	}
	sameNames(t, "answers", schemas["RFTResponse"].Required, slices.Collect(maps.Keys(answer)))
}

func TestTheDocumentsChoicesAreThoseOfTheProtocol(t *testing.T) {
	keys := read(t).Components.Schemas["Request"].Properties
	names := func(s schema) (all []string) {
		for _, v := range s.Enum {
			if v != nil { // optional
				all = append(all, v.(string))
			}
		}
		return all
	}
	strings := func(values any) (all []string) {
		v := reflect.ValueOf(values)
		for i := range v.Len() {
			all = append(all, v.Index(i).String())
		}
		return all
	}
	sameNames(t, "method", names(keys["advantage"].Properties["method"]), strings(reward.AdvantageMethods()))
	sameNames(t, "return", names(*keys["return"].Items), strings(wire.Returns()))
	sameNames(t, "mode", names(keys["mode"]), strings([]reward.Mode{reward.ModeAnswer, reward.ModeThink}))
	sameNames(t, "missing", names(keys["missing"]), strings([]reward.MissingPolicy{reward.MissingZero, reward.MissingError}))
	sameNames(t, "map_format", names(keys["map_format"]), strings([]jsonwire.MapFormat{jsonwire.MapsAsTensors, jsonwire.MapsAsArrays, jsonwire.MapsAsPNG}))
}

func TestResponsesHaveTheDocumentsKeys(t *testing.T) {
	documented := read(t).Components.Schemas["Response"]
	keys := func(p *wire.Response) []string {
		text, err := jsonwire.Response(p, jsonwire.MapsAsTensors)
		if err != nil {
			t.Fatal(err)
		}
		var object map[string]any
		if err := json.Unmarshal(text, &object); err != nil {
			t.Fatal(err)
		}
		return slices.Collect(maps.Keys(object))
	}
	maps1 := reward.Float32Tensor(make([]float32, 1), 1, 1, 1)
	full := &wire.Response{
		Rewards: []float64{math.NaN()}, Scores: []wire.NamedScores{{Name: "a", Values: []float64{1}}}, Missing: [][]string{nil},
		Errors: []*reward.Error{reward.ErrInternal}, Cached: []bool{true}, Dense: &wire.DenseMaps{Height: 1, Width: 1, Weight: maps1, Reward: maps1},
		Advantages: maps1, Heatmaps: []wire.NamedMaps{{Name: "a", Maps: maps1}}, Texts: []string{""}, Boxes: [][]reward.Box{{{}}}, Images: [][]byte{{1}},
		Ranks: []int{0}, Warnings: []string{"w"}, Resize: "square", TimingMS: map[string]float64{},
	}
	sameNames(t, "responses", slices.Collect(maps.Keys(documented.Properties)), keys(full))
	sameNames(t, "what every response has", documented.Required, keys(&wire.Response{}))
}

// Every path of the document is answered, and every foreign one is in it.
func TestTheDocumentsPathsAreTheServers(t *testing.T) {
	d := read(t)
	s := servertest.New(t, server.Config{}, &rewardtest.Fake{})
	for path, methods := range d.Paths {
		for method := range methods {
			answer := httptest.NewRecorder()
			s.ServeHTTP(answer, httptest.NewRequest(strings.ToUpper(method), path, http.NoBody))
			if (answer.Code == http.StatusNotFound && !strings.Contains(path, "{")) || answer.Code == http.StatusMethodNotAllowed {
				t.Errorf("%s %s: status %d", method, path, answer.Code)
			}
			if path == openapi.Path && answer.Body.String() != string(openapi.Document) {
				t.Error("the server shows another document")
			}
		}
	}
	for _, e := range compat.Endpoints(compat.Config{}) {
		if d.Paths[e.Path][strings.ToLower(e.Method)] == nil {
			t.Errorf("%s %s is not documented", e.Method, e.Path)
		}
	}
}
