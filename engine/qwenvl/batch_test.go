package qwenvl

import (
	"slices"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/ort"
)

// smallConfig is that of a image of 2x2 image tokens, whose id is 7.
func smallConfig() Config {
	return Config{
		ImageTokenID: 7,
		Vision:       VisionConfig{PatchSize: 14, SpatialMergeSize: 2, TemporalPatchSize: 2, InChannels: 3},
		Preprocessor: PreprocessorConfig{MinPixels: 1, MaxPixels: 4 * 28 * 28, PatchSize: 14, MergeSize: 2},
	}
}

func TestAPromptHasItsImageInOnePlace(t *testing.T) {
	c := smallConfig()
	if c.ImageSide() != 56 || c.PatchGrid() != 4 || c.ImageTokens() != 4 {
		t.Fatalf("a image of %d pixels, %d patches a side, %d tokens", c.ImageSide(), c.PatchGrid(), c.ImageTokens())
	}
	for name, test := range map[string]struct {
		ids  []int32
		want string // "" for none
	}{
		"a image between words":            {[]int32{1, 2, 7, 7, 7, 7, 3}, ""},
		"a image at the end":               {[]int32{1, 2, 7, 7, 7, 7}, ""},
		"one image token fewer":            {[]int32{1, 2, 7, 7, 7, 3}, "3 image tokens, the image has 4"},
		"one image token more":             {[]int32{1, 2, 7, 7, 7, 7, 7}, "5 image tokens, the image has 4"},
		"an image token ahead of its time": {[]int32{1, 7, 7, 7, 7}, "image token at 1"},
		"an image token in the caption":    {[]int32{1, 2, 7, 7, 7, 7, 3, 7}, "image token at 7"},
		"a gap in the image":               {[]int32{1, 2, 7, 7, 3, 7, 7}, "image token at 5"},
		"no image":                         {[]int32{1, 2, 3}, "0 image tokens"},
		"nothing":                          {nil, "0 image tokens"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := c.LayOut(test.ids, 2)
			if test.want == "" {
				if err != nil || !slices.Equal(p.slots, []int{2, 3, 4, 5}) || !slices.Equal(p.IDs, test.ids) {
					t.Errorf("slots %v, error %v", p.slots, err)
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
	b := Batch{Prompts: []Prompt{
		{IDs: []int32{10, 11, 7, 7, 12}, slots: []int{2, 3}},
		{IDs: []int32{20, 7, 7}, slots: []int{1, 2}},
		{IDs: []int32{30, 31, 7, 7}, slots: []int{2, 3}},
	}}
	got := b.tokens()
	for name, want := range map[string]struct {
		shape  []int64
		values []int64
	}{
		InputTokens:  {[]int64{12}, []int64{10, 11, 7, 7, 12, 20, 7, 7, 30, 31, 7, 7}},
		InputRows:    {[]int64{12}, []int64{0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2}},
		InputSlots:   {[]int64{6}, []int64{2, 3, 6, 7, 10, 11}},
		InputLengths: {[]int64{3}, []int64{5, 3, 4}},
		InputLongest: {[]int64{}, []int64{5}},
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
	for place, token := range b.tokens()[InputPack].Int64s() {
		if pad := b.tokens()[InputPad].Int64s()[token]; pad != int64(place) {
			t.Errorf("token %d is packed from place %d, where token %d stands", place, token, pad)
		}
	}
}

func TestABatchHasItsInputsByName(t *testing.T) {
	b := Batch{
		Prompts:      []Prompt{{IDs: []int32{1, 7, 7}, slots: []int{1, 2}}},
		Images:       ort.Uint8s([]int64{1, 1, 1, 3}, []uint8{1, 2, 3}),
		MaxNewTokens: 9, Penalty: 1.5, DraftState: 4,
	}
	got := b.Inputs()
	if v := got[InputPenalty].Float32s(); len(v) != 1 || v[0] != 1.5 {
		t.Errorf("penalty %v", v)
	}
	for name, want := range map[string]int64{InputDraftState: 4, InputMaxNewTokens: 9} {
		if v := got[name]; len(v.Shape) != 0 || v.Int64s()[0] != want {
			t.Errorf("%s is %v %v, want the scalar %d", name, v.Shape, v.Int64s(), want)
		}
	}
	if v := got[InputImages]; v.DType != ort.Uint8 || !slices.Equal(v.Shape, []int64{1, 1, 1, 3}) {
		t.Errorf("images are %v", v)
	}
}
