package imagedoctor

import (
	"reflect"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward"
)

// box is a box of importance 100 without a label.
func box(x0, y0, x1, y1 float64) reward.Box {
	return reward.Box{Coords: [4]float64{x0, y0, x1, y1}, Importance: 100}
}

// boxesOf is a text with the boxes that are read in it.
type boxesOf struct {
	text string
	want []reward.Box
}

func checkBoxes(t *testing.T, cases map[string]boxesOf) {
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			if got := ParseBoxes(test.text); !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %v\nwant %v", got, test.want)
			}
		})
	}
}

func TestBoxesAreReadInText(t *testing.T) {
	checkBoxes(t, map[string]boxesOf{
		"an enumerated list is in pixels of 512": {
			"Proposed regions (xyxy): 1.[0,128,256,512];\n2.[64,64,128,192];",
			[]reward.Box{box(0, 250, 500, 1000), box(125, 125, 250, 375)},
		},
		"spaces, signs and fractions are read": {
			"1. [ +25.6, 51.2 ,\n 76.8 , 102.4 ]",
			[]reward.Box{box(50, 100, 150, 200)},
		},
		"a box that is named again counts once": {
			"1.[0,0,256,256]; The region [0,0,256,256] shows a hand. [0, 0, 256, 512]",
			[]reward.Box{box(0, 0, 500, 500), box(0, 0, 500, 1000)},
		},
		"corners outside the image are clamped": {
			"[-10,0,600,256]", []reward.Box{box(0, 0, 1000, 500)},
		},
		"what is empty or inside out is left out": {
			"[10,10,10,20] [20,10,10,20] [600,600,700,700] [10,20,30,20]", nil,
		},
		"three or five numbers are no box": {
			"[1,2,3] [1,2,3,4,5] [a,b,c,d] [1,2,3,4", nil,
		},
		"huge numbers are clamped": {
			"[0,0," + strings.Repeat("9", 400) + ",512]", []reward.Box{box(0, 0, 1000, 1000)},
		},
		"an empty text has none": {"", nil},
	})
}

func TestBoxesAreReadInObjects(t *testing.T) {
	checkBoxes(t, map[string]boxesOf{
		"BoxFlow's objects are in thousandths and carry label and importance": {
			`[{"box_2d": [100, 200, 300, 400], "label": "artifact", "description": "hand", "importance": 70},
			  {"box_2d": [0, 0, 1000, 10], "label": "misalignment", "desc": "sky"}]`,
			[]reward.Box{
				{Coords: [4]float64{100, 200, 300, 400}, Label: "artifact", Importance: 70},
				{Coords: [4]float64{0, 0, 1000, 10}, Label: "misalignment", Importance: 100},
			},
		},
		"Qwen's objects are in pixels": {
			`{"bbox_2d": [0, 0, 128, 256], "label": "Misalignment (sky)"}`,
			[]reward.Box{{Coords: [4]float64{0, 0, 250, 500}, Label: "misalignment", Importance: 100}},
		},
		"an importance out of range is clamped, another label dropped": {
			`{"box_2d": [1, 2, 3, 4], "label": "blurry", "importance": 400} {"box_2d": [1, 2, 3, 5], "label": 7, "importance": -3}`,
			[]reward.Box{
				{Coords: [4]float64{1, 2, 3, 4}, Importance: 100},
				{Coords: [4]float64{1, 2, 3, 5}, Importance: 0},
			},
		},
		"an object with a box of three numbers is none, nor in another form": {
			`{"box_2d": [1, 2, 3]} {"box_2d": [10, 10, 5, 20]}`, nil,
		},
		"lists around objects keep their order": {
			`1.[0,0,256,256]; {"box_2d": [1, 2, 3, 4]} then [0,0,512,512]`,
			[]reward.Box{box(0, 0, 500, 500), box(1, 2, 3, 4), box(0, 0, 1000, 1000)},
		},
		"broken objects are read as text": {
			`{"box_2d": [0,0,256,512], } {{{`, []reward.Box{box(0, 0, 500, 1000)},
		},
	})
}

func TestReasoning(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"a whole answer":             {"<think>\n I look. \n</think>\n<answer>x</answer>", "I look."},
		"only the first block":       {"<think>a</think><think>b</think>", "a"},
		"a block that is not closed": {"<think>I look and look", "I look and look"},
		"a block cut by the answer":  {"<think>I look <answer>x</answer>", "I look"},
		"a forced opening":           {"I look.</think><answer>x</answer>", "I look."},
		"no block":                   {"<answer>x</answer>", ""},
		"an empty text":              {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got, _ := ParseThought(test.text); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
