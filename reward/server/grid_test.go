package server_test

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"github.com/denseflow/densereward/dense"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/wire"
)

func TestTheGridFollowsTheImagesUnlessItIsNamed(t *testing.T) {
	c, _ := serveOver(t, &rewardtest.Fake{}, func(cfg *server.Config) { cfg.Decoders = []reward.LatentDecoder{&greys{}} })
	for name, g := range map[string]struct {
		spec reward.GridSpec
		want dense.Grid
	}{
		"by default":                  {want: dense.Grid{Height: 6, Width: 12}},
		"sd3":                         {spec: reward.GridSpec{Preset: "sd3"}, want: dense.Grid{Height: 6, Width: 12}},
		"flux":                        {spec: reward.GridSpec{Preset: "flux"}, want: dense.Grid{Height: 3, Width: 6}},
		"qwen-image":                  {spec: reward.GridSpec{Preset: "qwen-image"}, want: dense.Grid{Height: 3, Width: 6}},
		"sana":                        {spec: reward.GridSpec{Preset: "sana"}, want: dense.Grid{Height: 1, Width: 3}},
		"a decoder's model":           {spec: reward.GridSpec{Preset: "greys"}, want: dense.Grid{Height: 3, Width: 6}},
		"explicit":                    {spec: reward.GridSpec{Height: 64, Width: 64}, want: dense.Grid{Height: 64, Width: 64}},
		"explicit, coarser by little": {spec: reward.GridSpec{Height: 7, Width: 5}, want: dense.Grid{Height: 7, Width: 5}},
	} {
		q := rollout(2, 96, 48)
		q.Grid = g.spec
		p := mustScore(t, c, q)
		if got := (dense.Grid{Height: p.Dense.Height, Width: p.Dense.Width}); got != g.want {
			t.Errorf("%s: got %v, want %v", name, got, g.want)
		}
	}
}

func TestDenseMapsArePooledHeatmaps(t *testing.T) {
	c, _ := serveOver(t, &rewardtest.Fake{}, nil)
	q := rollout(3, 96, 48)
	q.Grid = reward.GridSpec{Height: 7, Width: 5}
	q.Weights = &reward.Weights{Scores: map[string]float64{"overall": 2}, Maps: map[string]float64{"misalignment": 0.25, "artifact": 0.5}}
	p := mustScore(t, c, q)
	weight, _ := p.Dense.Weight.Float32s()
	rewards, _ := p.Dense.Reward.Float32s()
	grid, source := dense.Grid{Height: 7, Width: 5}, dense.Grid{Height: 64, Width: 64}
	for i := range 3 {
		want := scored(i, 96, 48, reward.ModeAnswer)
		mis, art := make([]float32, 35), make([]float32, 35)
		dense.AdaptiveAvgPool(mis, grid, want.Maps[0].Data, source)
		dense.AdaptiveAvgPool(art, grid, want.Maps[1].Data, source)
		r := 2 * want.Scores[3]
		if p.Rewards[i] != r {
			t.Errorf("sample %d: reward %v, want %v", i, p.Rewards[i], r)
		}
		for at := range mis {
			h := 0.25*float64(mis[at]) + 0.5*float64(art[at])
			if got := weight[i*35+at]; math.Abs(float64(got)-(1-h)) > 1e-7 {
				t.Fatalf("sample %d, cell %d: weight %v, want %v", i, at, got, 1-h)
			}
			if got := rewards[i*35+at]; math.Abs(float64(got)-r*(1-h)) > 2e-7 {
				t.Fatalf("sample %d, cell %d: reward %v, want %v", i, at, got, r*(1-h))
			}
		}
	}
}

func TestImagesOfSeveralSizesHaveMapsOnGridsOfTheirOwn(t *testing.T) {
	c, _ := serveOver(t, &rewardtest.Fake{}, nil)
	for name, odd := range map[string]wire.Image{
		"a tensor": {Tensor: rewardtest.Tensor(rewardtest.Image(9, 32, 64))},
		"a file":   {Encoded: rewardtest.PNG(rewardtest.Image(9, 32, 64))},
	} {
		q := rollout(2, 64, 64)
		q.Images[1] = odd
		alone := make([]*wire.Response, 2)
		for i := range alone {
			one := *q
			one.Prompts, one.Images = q.Prompts[i:i+1], q.Images[i:i+1]
			alone[i] = mustScore(t, c, &one)
		}
		p := mustScore(t, c, q)
		if p.Dense.Weight != nil || len(p.Dense.Weights) != 2 || !slices.Equal(p.Dense.Weights[1].Shape, []int{8, 4}) {
			t.Fatalf("%s: maps %v and %v", name, p.Dense.Weight, p.Dense.Weights)
		}
		for i := range alone {
			if !bytes.Equal(p.Dense.Weights[i].Data, alone[i].Dense.Weight.Data) || !bytes.Equal(p.Dense.Rewards[i].Data, alone[i].Dense.Reward.Data) {
				t.Errorf("%s: sample %d has other maps among others than by itself", name, i)
			}
		}
		q.Advantage = &reward.Advantage{Method: reward.AdvantageDenseFlow}
		if p := mustScore(t, c, q); len(p.AdvantageMaps) != 2 || !slices.Equal(p.AdvantageMaps[0].Shape, []int{8, 8}) {
			t.Errorf("%s: advantages %v, %v", name, p.Advantages, p.AdvantageMaps)
		}
		// A group is compared location by location, groups of one size each are fine.
		q.Advantage = &reward.Advantage{Method: reward.AdvantageDenseFlowPaper}
		q.Groups = reward.Groups{Names: []string{"a", "a"}}
		mustFail(t, c, q, reward.ErrGridMismatch)
		q.Groups = reward.Groups{Names: []string{"a", "b"}}
		if p := mustScore(t, c, q); len(p.AdvantageMaps) != 2 {
			t.Errorf("%s: advantages of groups of one size %v", name, p.AdvantageMaps)
		}
		q.Advantage.GlobalStd = true
		mustFail(t, c, q, reward.ErrGridMismatch)
		q.Grid = reward.GridSpec{Height: 8, Width: 8}
		mustScore(t, c, q)
	}
}

func TestAnImageSmallerThanACellHasOne(t *testing.T) {
	c, _ := serveOver(t, &rewardtest.Fake{}, nil)
	for _, preset := range []string{"", "flux", "sana"} {
		q := rollout(2, 7, 30)
		q.Grid.Preset = preset
		p := mustScore(t, c, q)
		if p.Errors[0] != nil || p.Dense.Width != 1 || p.Dense.Height < 1 {
			t.Errorf("%q: %v, grid %dx%d", preset, p.Errors, p.Dense.Height, p.Dense.Width)
		}
	}
}

func TestAGridThatMakesNoSenseIsRefused(t *testing.T) {
	c, _ := serveOver(t, &rewardtest.Fake{}, nil)
	for name, g := range map[string]struct {
		spec          reward.GridSpec
		width, height int
	}{
		"a preset that does not exist":      {spec: reward.GridSpec{Preset: "sd9"}, width: 64, height: 64},
		"more cells than the server allows": {spec: reward.GridSpec{Height: 4096, Width: 4096}, width: 64, height: 64},
		"a side past the limit":             {spec: reward.GridSpec{Height: 5000, Width: 1}, width: 64, height: 64},
	} {
		t.Run(name, func(t *testing.T) {
			q := rollout(2, g.width, g.height)
			q.Grid = g.spec
			mustFail(t, c, q, reward.ErrInvalidValue)
		})
	}
}

func TestMapsOfFailedImagesAloneAreOneCell(t *testing.T) {
	c, _ := serveOver(t, &rewardtest.Fake{}, nil)
	q := rollout(1, 64, 64)
	q.Images[0] = wire.Image{Encoded: []byte("GIF89a")}
	p := mustScore(t, c, q)
	if v, _ := p.Dense.Weight.Float32s(); len(v) != 1 || v[0] == v[0] {
		t.Errorf("weight is %v", v)
	}
}
