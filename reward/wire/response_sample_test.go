package wire_test

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/wire"
)

// noText travels as an array of eleven small integers.
const noText = "not a text!"

// ofThree is a response of three good samples with a map each.
func ofThree() *wire.Response {
	each := func() []*reward.Tensor {
		var maps []*reward.Tensor
		for i := range 3 {
			maps = append(maps, reward.Float32Tensor(make([]float32, i+1), 1, i+1))
		}
		return maps
	}
	return &wire.Response{
		Rewards: []float64{0, 1, 2}, Scores: []wire.NamedScores{{Name: "overall", Values: []float64{0, 1, 2}}},
		Missing: [][]string{{}, {}, {}}, Errors: make([]*reward.Error, 3), Cached: make([]bool, 3),
		Dense:         &wire.DenseMaps{Weights: each(), Rewards: each()},
		AdvantageMaps: each(), Heatmaps: []wire.NamedMaps{{Name: "artifact", Each: each()}},
		Texts: []string{"a", "b", "c"}, Boxes: [][]reward.Box{{}, {{Label: "artifact"}}, {}}, Images: [][]byte{{1}, {2}, {3}},
		Evaluator: "imagedoctor", Model: "0123abcd", TimingMS: map[string]float64{},
	}
}

// Whatever part of one sample is wrong, that sample fails with an error that names the
// part, and its neighbours keep what they have.
func TestAWrongPartOfASampleFailsThatSampleAlone(t *testing.T) {
	nan := math.NaN()
	for name, c := range map[string]struct {
		spoil func(p *wire.Response)
		field string
	}{
		"a reward of NaN":         {func(p *wire.Response) { p.Rewards[1] = nan }, "rewards[1]"},
		"an infinite score":       {func(p *wire.Response) { p.Scores[0].Values[1] = math.Inf(-1) }, "scores.overall[1]"},
		"a box of NaN":            {func(p *wire.Response) { p.Boxes[1][0].Coords[2] = nan }, "boxes[1][0].box[2]"},
		"an importance of NaN":    {func(p *wire.Response) { p.Boxes[1][0].Importance = nan }, "boxes[1][0].importance"},
		"a label that is none":    {func(p *wire.Response) { p.Boxes[1][0].Label = noText }, "boxes[1][0].label"},
		"a text that is none":     {func(p *wire.Response) { p.Texts[1] = noText }, "texts[1]"},
		"a text of half a letter": {func(p *wire.Response) { p.Texts[1] = "\xe3\x85" }, "texts[1]"},
		"a missing part":          {func(p *wire.Response) { p.Missing[1] = []string{noText} }, "missing[1][0]"},
		"an error without a code": {func(p *wire.Response) { p.Errors[1] = new(reward.Error) }, "errors[1]"},
		"a map of integers":       {func(p *wire.Response) { p.Heatmaps[0].Each[1].Type = reward.Int32 }, "heatmaps.artifact[1]"},
		"a map of a map":          {func(p *wire.Response) { p.Heatmaps[0].Each[1].Shape = []int{1, 1, 2} }, "heatmaps.artifact[1]"},
		"a map of no known type":  {func(p *wire.Response) { p.Dense.Weights[1].Type = "<f9" }, "dense.weight[1].type"},
		"too few bytes":           {func(p *wire.Response) { p.AdvantageMaps[1].Data = nil }, "advantages[1]"},
	} {
		p := ofThree()
		c.spoil(p)
		body := bytes.ReplaceAll(p.Encode().Bytes(), []byte("\xab"+noText), []byte("\x9b"+noText))
		got, err := wire.DecodeResponse(body)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		e := got.Errors[1]
		if e == nil || e.Code() != reward.ErrEvaluatorFailed.Code() || !strings.Contains(e.Message(), c.field+":") {
			t.Errorf("%s: error %v, want one that names %s", name, e, c.field)
		}
		if !math.IsNaN(got.Rewards[1]) || !math.IsNaN(got.Scores[0].Values[1]) || got.Texts[1] != "" || len(got.Boxes[1])+len(got.Missing[1]) > 0 {
			t.Errorf("%s: the sample still has %v, %+v", name, got.Rewards[1], got)
		}
		for _, maps := range [][]*reward.Tensor{got.Dense.Weights, got.Dense.Rewards, got.AdvantageMaps, got.Heatmaps[0].Each} {
			if values, err := maps[1].Float32s(); err != nil || strings.Trim(fmt.Sprint(values), "[Na ]") != "" {
				t.Errorf("%s: the sample's map is %v, %v", name, values, err)
			}
		}
		for _, i := range []int{0, 2} {
			if got.Errors[i] != nil || got.Rewards[i] != float64(i) || got.Texts[i] != p.Texts[i] || got.Dense.Weights[i].Shape[1] != i+1 {
				t.Errorf("%s: neighbour %d has %v, error %v", name, i, got.Rewards[i], got.Errors[i])
			}
		}
	}
}

func TestAnAnswerOfManyWrongSamplesIsNone(t *testing.T) {
	p := &wire.Response{}
	for range 5000 {
		p.Rewards = append(p.Rewards, 0)
		p.Missing = append(p.Missing, []string{})
		p.Errors = append(p.Errors, nil)
		p.Texts = append(p.Texts, "\xff")
	}
	if _, err := wire.DecodeResponse(p.Encode().Bytes()); err == nil || !strings.Contains(err.Error(), "texts[4096]") {
		t.Errorf("got %v", err)
	}
}
