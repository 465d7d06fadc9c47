package wire_test

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"testing"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
)

// sample is a response of two samples with every part, the second failed.
func sampleResponse() *wire.Response {
	maps := func() *reward.Tensor { return reward.Float32Tensor([]float32{0, 0.5, 1, 0.25, 1, 1}, 2, 1, 3) }
	p := &wire.Response{
		Rewards: []float64{0.75, math.NaN()},
		Missing: [][]string{{"overall"}, {}},
		Errors:  []*reward.Error{nil, reward.ErrImageCorrupt.With("corrupt image: png: early end")},
		Cached:  []bool{true, false},
		Dense:   &wire.DenseMaps{Height: 1, Width: 3, Weight: maps(), Reward: maps()},
		Advantages: reward.Float64Tensor([]float64{
			-1, math.NaN(),
		}, 2),
		Heatmaps: []wire.NamedMaps{{Name: "misalignment", Maps: maps()}, {Name: "artifact", Maps: maps()}},
		Texts:    []string{"fine", ""},
		Boxes: [][]reward.Box{
			{{Coords: [4]float64{0, 10, 500, 1000}, Label: "artifact", Importance: 80}},
			{},
		},
		Images:    [][]byte{{1, 2, 3}, {}},
		Evaluator: "imagedoctor",
		Model:     "0123abcd",
		TimingMS:  map[string]float64{"total": 12.5, "evaluate": 10},
	}
	for s, name := range scoreNames() {
		p.Scores = append(p.Scores, wire.NamedScores{Name: name, Values: []float64{float64(s) / 4, math.NaN()}})
	}
	return p
}

func TestResponsesSurviveTheWire(t *testing.T) {
	want := sampleResponse()
	body := want.Encode().Bytes()
	got, err := wire.DecodeResponse(body)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Encode().Bytes(), body) {
		t.Error("encoding the decoded response gives other bytes")
	}
	if !math.IsNaN(got.Rewards[1]) || !math.IsNaN(got.Scores[0].Values[1]) {
		t.Error("a failed sample's numbers are not NaN")
	}
	if !errors.Is(got.Errors[1], reward.ErrImageCorrupt) || got.Errors[1].Message() != want.Errors[1].Message() {
		t.Errorf("error: got %v", got.Errors[1])
	}
	got.Rewards, want.Rewards = nil, nil // NaN is not equal to itself
	got.Scores, want.Scores = nil, nil
	got.Errors, want.Errors = nil, nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestAClientPassesOverPartsItDoesNotKnow(t *testing.T) {
	body := sampleResponse().Encode().Bytes()
	if body[0] != 0x8e {
		t.Fatalf("the response begins with %#x, want a map of 14", body[0])
	}
	later := append([]byte{0x8f}, body[1:]...)
	later = append(later, "\xa5later\x82\xa1a\x92\xc0\xcb\x00\x00\x00\x00\x00\x00\x00\x00\xc4\x01b\x81\x01\xc3"...)
	if _, err := wire.DecodeResponse(later); err != nil {
		t.Error(err)
	}
	deep := append([]byte{0x8f}, body[1:]...)
	deep = append(deep, "\xa5later"...)
	deep = append(deep, bytes.Repeat([]byte{0x91}, 1<<20)...)
	if _, err := wire.DecodeResponse(deep); !errors.Is(err, reward.ErrMalformedBody) {
		t.Errorf("a part nested a million deep: got %v", err)
	}
}

func TestAResponseWhosePartsDisagreeIsRefused(t *testing.T) {
	for name, spoil := range map[string]func(*wire.Response){
		"scores":     func(p *wire.Response) { p.Scores[2].Values = p.Scores[2].Values[:1] },
		"missing":    func(p *wire.Response) { p.Missing = p.Missing[:1] },
		"errors":     func(p *wire.Response) { p.Errors = p.Errors[:1] },
		"texts":      func(p *wire.Response) { p.Texts = append(p.Texts, "") },
		"boxes":      func(p *wire.Response) { p.Boxes = p.Boxes[:1] },
		"advantages": func(p *wire.Response) { p.Advantages = reward.Float64Tensor([]float64{1}, 1) },
		"weight":     func(p *wire.Response) { p.Dense.Weight = reward.Float32Tensor(make([]float32, 3), 1, 1, 3) },
		"heatmaps":   func(p *wire.Response) { p.Heatmaps[1].Maps = reward.Float64Tensor(make([]float64, 6), 2, 1, 3) },
	} {
		p := sampleResponse()
		spoil(p)
		if _, err := wire.DecodeResponse(p.Encode().Bytes()); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := wire.DecodeResponse([]byte{0x80}); !errors.Is(err, reward.ErrMissingField) {
		t.Errorf("an empty map: got %v", err)
	}
}
