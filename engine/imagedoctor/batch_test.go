package imagedoctor

import (
	"slices"
	"strings"
	"testing"

	"github.com/denseflow/densereward/engine/ort"
)

// smallConfig is that of a picture of 2x2 image tokens, whose id is 7.
func smallConfig() Config {
	return Config{
		ImageTokenID: 7,
		Vision:       VisionConfig{PatchSize: 14, SpatialMergeSize: 2, TemporalPatchSize: 2, InChannels: 3},
		Preprocessor: PreprocessorConfig{MinPixels: 1, MaxPixels: 4 * 28 * 28, PatchSize: 14, MergeSize: 2},
	}
}

func TestAPromptHasItsPictureInOnePlace(t *testing.T) {
	c := smallConfig()
	if c.ImageSide() != 56 || c.patchGrid() != 4 || c.imageTokens() != 4 {
		t.Fatalf("a picture of %d pixels, %d patches a side, %d tokens", c.ImageSide(), c.patchGrid(), c.imageTokens())
	}
	for name, test := range map[string]struct {
		ids  []int32
		want string // "" for none
	}{
		"a picture between words":          {[]int32{1, 2, 7, 7, 7, 7, 3}, ""},
		"a picture at the end":             {[]int32{1, 2, 7, 7, 7, 7}, ""},
		"one image token fewer":            {[]int32{1, 2, 7, 7, 7, 3}, "3 image tokens, the picture has 4"},
		"one image token more":             {[]int32{1, 2, 7, 7, 7, 7, 7}, "5 image tokens, the picture has 4"},
		"an image token ahead of its time": {[]int32{1, 7, 7, 7, 7}, "image token at 1"},
		"an image token in the caption":    {[]int32{1, 2, 7, 7, 7, 7, 3, 7}, "image token at 7"},
		"a gap in the picture":             {[]int32{1, 2, 7, 7, 3, 7, 7}, "image token at 5"},
		"no picture":                       {[]int32{1, 2, 3}, "0 image tokens"},
		"nothing":                          {nil, "0 image tokens"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := c.layOut(test.ids, 2)
			if test.want == "" {
				if err != nil || !slices.Equal(p.slots, []int{2, 3, 4, 5}) || !slices.Equal(p.ids, test.ids) {
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
	b := batch{prompts: []prompt{
		{ids: []int32{10, 11, 7, 7, 12}, slots: []int{2, 3}},
		{ids: []int32{20, 7, 7}, slots: []int{1, 2}},
		{ids: []int32{30, 31, 7, 7}, slots: []int{2, 3}},
	}}
	got := b.tokens()
	for name, want := range map[string]struct {
		shape  []int64
		values []int64
	}{
		inputTokens:  {[]int64{12}, []int64{10, 11, 7, 7, 12, 20, 7, 7, 30, 31, 7, 7}},
		inputRows:    {[]int64{12}, []int64{0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2}},
		inputSlots:   {[]int64{6}, []int64{2, 3, 6, 7, 10, 11}},
		inputLengths: {[]int64{3}, []int64{5, 3, 4}},
		inputLongest: {[]int64{}, []int64{5}},
		// The token at each place of the padded rows; padding is the row's last.
		inputPad: {[]int64{3, 5}, []int64{0, 1, 2, 3, 4, 5, 6, 7, 7, 7, 8, 9, 10, 11, 11}},
		// The place of each token in them.
		inputPack: {[]int64{12}, []int64{0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13}},
	} {
		if v := got[name]; !slices.Equal(v.Shape, want.shape) || !slices.Equal(v.Int64s(), want.values) {
			t.Errorf("%s is %v %v, want %v %v", name, v.Shape, v.Int64s(), want.shape, want.values)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("more inputs: %v", got)
	}
	for place, token := range b.tokens()[inputPack].Int64s() {
		if pad := b.tokens()[inputPad].Int64s()[token]; pad != int64(place) {
			t.Errorf("token %d is packed from place %d, where token %d stands", place, token, pad)
		}
	}
}

func TestInputsComeInTheOrderOfTheirNames(t *testing.T) {
	b := batch{
		prompts:   []prompt{{ids: []int32{1, 7, 7}, slots: []int{1, 2}}},
		pictures:  ort.Uint8s([]int64{1, 1, 1, 3}, []uint8{1, 2, 3}),
		maxTokens: 9, penalty: 1.5, state: 4,
	}
	names := []string{inputPenalty, inputDraftState, inputMaxNewTokens, inputPictures, inputParts}
	got := b.inputs(names)
	if v := got[0].Float32s(); len(v) != 1 || v[0] != 1.5 {
		t.Errorf("penalty %v", v)
	}
	for i, want := range map[int]int64{1: 4, 2: 9} {
		if v := got[i]; len(v.Shape) != 0 || v.Int64s()[0] != want {
			t.Errorf("%s is %v %v, want the scalar %d", names[i], v.Shape, v.Int64s(), want)
		}
	}
	if v := got[3]; v.DType != ort.Uint8 || !slices.Equal(v.Shape, []int64{1, 1, 1, 3}) {
		t.Errorf("pictures are %v", v)
	}
}

func TestHeadsTakeEqualTurns(t *testing.T) {
	for _, test := range []struct {
		rows  int
		shape []int64
		want  []int64
	}{
		{1, []int64{1, 1}, []int64{0}},
		{8, []int64{1, 8}, []int64{0, 1, 2, 3, 4, 5, 6, 7}},
		{9, []int64{2, 5}, []int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 8}},
		{16, []int64{2, 8}, nil},
		{17, []int64{3, 6}, nil},
		{64, []int64{8, 8}, nil},
	} {
		got := headParts(test.rows)
		values := got.Int64s()
		if !slices.Equal(got.Shape, test.shape) || test.want != nil && !slices.Equal(values, test.want) {
			t.Errorf("%d rows: %v %v, want %v %v", test.rows, got.Shape, values, test.shape, test.want)
		}
		for i := range test.rows { // every row once, in order, and then the last again
			if values[i] != int64(i) {
				t.Errorf("%d rows: row %d is %d", test.rows, i, values[i])
			}
		}
		for _, v := range values[test.rows:] {
			if v != int64(test.rows-1) {
				t.Errorf("%d rows: filled up with %d", test.rows, v)
			}
		}
	}
}

// More pictures than the heads take at a time.
func TestABatchOfSeveralTurnsOfTheHeadsIsAsOneByOne(t *testing.T) {
	e := nanoEvaluator(t, form{small: true})
	_, samples := refSamples(t)
	var many []int
	for i := range maxHeadPart + 3 {
		many = append(many, i%len(samples))
	}
	batch := samples[:0:0]
	for _, i := range many {
		batch = append(batch, samples[i])
	}
	results := evaluate(t, e, batch)
	for row, i := range many {
		sameResult(t, samples[i].Prompt, results[row], results[i])
	}
}
