package qwenvl

import (
	"slices"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/image/codec"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/qwenvl/checkpoint"
	"github.com/denseflow/densereward/engine/qwenvl/draft"
	"github.com/denseflow/densereward/reward"
)

// smallConfig is that of a image of 2x2 image tokens, whose id is 7.
func smallConfig() checkpoint.Config {
	return checkpoint.Config{
		ImageTokenID: 7,
		Vision:       checkpoint.VisionConfig{PatchSize: 14, SpatialMergeSize: 2, TemporalPatchSize: 2, InChannels: 3},
		Preprocessor: checkpoint.PreprocessorConfig{MinPixels: 1, MaxPixels: 4 * 28 * 28, PatchSize: 14, MergeSize: 2},
	}
}

func TestAPromptHasItsImageInOnePlace(t *testing.T) {
	c := smallConfig()
	square := &reward.Image{Width: 56, Height: 56}
	for name, test := range map[string]struct {
		ids  []int32
		want string // "" for none
	}{
		"an image between words":        {[]int32{1, 2, 7, 7, 7, 7, 3}, ""},
		"an image at the end":           {[]int32{1, 2, 7, 7, 7, 7}, ""},
		"an image first":                {[]int32{7, 7, 7, 7, 1}, ""},
		"one image token fewer":         {[]int32{1, 2, 7, 7, 7, 3}, "3 image tokens, the image has 4"},
		"one image token more":          {[]int32{1, 2, 7, 7, 7, 7, 7}, "image token at 6, outside the image"},
		"an image token in the caption": {[]int32{1, 2, 7, 7, 7, 7, 3, 7}, "image token at 7"},
		"a gap in the image":            {[]int32{1, 2, 7, 7, 3, 7, 7}, "2 image tokens, the image has 4"},
		"no image":                      {[]int32{1, 2, 3}, "1 images, image tokens for 0"},
		"nothing":                       {nil, "image tokens for 0"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := LayOut(c, test.ids, square)
			if test.want == "" {
				if err != nil || !slices.Equal(p.starts, []int{slices.Index(test.ids, 7)}) || !slices.Equal(p.IDs, test.ids) {
					t.Errorf("starts %v, error %v", p.starts, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v does not say %q", err, test.want)
			}
		})
	}
}

func TestABatchPacksItsPromptsBehindEachOther(t *testing.T) {
	c := smallConfig()
	var b Batch
	for _, ids := range [][]int32{{10, 11, 7, 7, 12}, {20, 7, 7}, {30, 31, 7, 7}} {
		p, err := LayOut(c, ids, &reward.Image{Width: 56, Height: 28})
		if err != nil {
			t.Fatal(err)
		}
		b.Prompts = append(b.Prompts, p)
	}
	got := b.tokens(c)
	for name, want := range map[string]struct {
		shape  []int64
		values []int64
	}{
		InputTokens:  {[]int64{12}, []int64{10, 11, 7, 7, 12, 20, 7, 7, 30, 31, 7, 7}},
		InputRows:    {[]int64{12}, []int64{0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2}},
		InputSlots:   {[]int64{6}, []int64{2, 3, 6, 7, 10, 11}},
		InputLengths: {[]int64{3}, []int64{5, 3, 4}},
		InputLongest: {[]int64{}, []int64{5}},
		InputPositions: {[]int64{3, 12}, []int64{
			0, 1, 2, 2, 4, 0, 1, 1, 0, 1, 2, 2,
			0, 1, 2, 2, 4, 0, 1, 1, 0, 1, 2, 2,
			0, 1, 2, 3, 4, 0, 1, 2, 0, 1, 2, 3,
		}},
		InputDeltas: {[]int64{3}, []int64{0, 0, 0}},
		// The token at each place of the padded rows; padding is the row's last.
		InputPad: {[]int64{3, 5}, []int64{0, 1, 2, 3, 4, 5, 6, 7, 7, 7, 8, 9, 10, 11, 11}},
		// The place of each token in them.
		InputPack: {[]int64{12}, []int64{0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13}},
	} {
		if v := got[name]; !slices.Equal(v.Shape, want.shape) || !slices.Equal(v.Int64s(), want.values) {
			t.Errorf("%s is %v %v, want %v %v", name, v.Shape, v.Int64s(), want.shape, want.values)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("more inputs: %v", got)
	}
	for place, token := range b.tokens(c)[InputPack].Int64s() {
		if pad := b.tokens(c)[InputPad].Int64s()[token]; pad != int64(place) {
			t.Errorf("token %d is packed from place %d, where token %d stands", place, token, pad)
		}
	}
}

func TestABatchHasItsInputsByName(t *testing.T) {
	c := smallConfig()
	p, err := LayOut(c, []int32{1, 7, 7}, codec.NewImage(56, 28))
	if err != nil {
		t.Fatal(err)
	}
	b := Batch{Prompts: []Prompt{p}, MaxNewTokens: 9, Penalty: 1.5, Draft: &draft.Machine{}, DraftState: 4}
	got := b.Inputs(c)
	if v := got[InputPenalty].Float32s(); len(v) != 1 || v[0] != 1.5 {
		t.Errorf("penalty %v", v)
	}
	for name, want := range map[string]int64{InputDraftState: 4, InputMaxNewTokens: 9} {
		if v := got[name]; len(v.Shape) != 0 || v.Int64s()[0] != want {
			t.Errorf("%s is %v %v, want the scalar %d", name, v.Shape, v.Int64s(), want)
		}
	}
	if v := got[InputPixels]; v.DType != ort.Uint8 || !slices.Equal(v.Shape, []int64{8, 588}) {
		t.Errorf("pixels are %v", v)
	}
}

func TestBatchesKeepTheirLimits(t *testing.T) {
	for name, test := range map[string]struct {
		lengths      []int
		rows, tokens int
		want         []Part
	}{
		"nothing":                     {nil, 4, 100, nil},
		"what fits":                   {[]int{10, 20, 30}, 4, 100, []Part{{0, 3}}},
		"as many rows as may be":      {[]int{1, 1, 1, 1, 1}, 2, 100, []Part{{0, 2}, {2, 4}, {4, 5}}},
		"padding counts":              {[]int{10, 10, 10, 40}, 9, 100, []Part{{0, 3}, {3, 4}}},
		"a long one first":            {[]int{40, 10, 10, 10}, 9, 100, []Part{{0, 2}, {2, 4}}},
		"one of more than the budget": {[]int{10, 500, 10}, 9, 100, []Part{{0, 1}, {1, 2}, {2, 3}}},
		"exactly the budget":          {[]int{50, 50, 50}, 9, 100, []Part{{0, 2}, {2, 3}}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Parts(test.lengths, test.rows, test.tokens); !slices.Equal(got, test.want) {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}
