package imagedoctor

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"

	"github.com/denseflow/densereward/reward"
)

const (
	// boxFrame is the side, in pixels, of the square image that the model's
	// box coordinates refer to: the reward with which its boxes were trained
	// scales them from 512.
	boxFrame = 512
	// boxUnits is the side of the square that reward.Box refers to.
	boxUnits = 1000
	// fullImportance is that of a box without one.
	fullImportance = 100
)

// quadruple matches four numbers in brackets, the form in which the model lists
// boxes: 1.[x1,y1,x2,y2];
var quadruple = regexp.MustCompile(`\[` +
	strings.Repeat(`\s*([-+]?\d+(?:\.\d+)?)\s*,`, 3) + `\s*([-+]?\d+(?:\.\d+)?)\s*\]`)

// ParseThought takes apart what a model generated in ModeThink: the reasoning
// between <think> and </think>, without white space around it, and the boxes
// that the text names, in order, each once.
//
// Boxes are read from two forms. Four numbers in brackets, as ImageDoctor lists
// them, are pixels of the image at 512x512. A JSON object with a box_2d, as
// BoxFlow's detector answers, gives thousandths, and may have a label and an
// importance from 0 to 100; with bbox_2d, Qwen2.5-VL's own form, it gives pixels
// as well. Corners are clamped to the image; a box that is empty then is left
// out.
func ParseThought(text string) (reasoning string, boxes []reward.Box) {
	return reasoningOf(text), ParseBoxes(text)
}

// reasoningOf is the text of the first think block, up to the end of the text
// if the block is not closed and from its start if it was not opened.
func reasoningOf(text string) string {
	if _, after, ok := strings.Cut(text, "<think>"); ok {
		text = after
	} else if !strings.Contains(text, "</think>") {
		return ""
	}
	before, _, _ := strings.Cut(text, "</think>")
	before, _, _ = strings.Cut(before, "<answer>")
	return strings.TrimFunc(before, pythonSpace)
}

// ParseBoxes finds the boxes that text names, as ParseThought describes.
func ParseBoxes(text string) []reward.Box {
	var boxes []reward.Box
	seen := map[reward.Box]bool{}
	add := func(box reward.Box, ok bool) {
		if ok && !seen[box] {
			seen[box] = true
			boxes = append(boxes, box)
		}
	}
	listed := func(part string) {
		for _, match := range quadruple.FindAllStringSubmatch(part, -1) {
			add(listedBox(match[1:]))
		}
	}
	begin := 0
	for _, object := range innerObjects(text) {
		box, stated, ok := jsonBox(text[object[0]:object[1]])
		if !stated {
			continue
		}
		listed(text[begin:object[0]])
		add(box, ok)
		begin = object[1]
	}
	listed(text[begin:])
	return boxes
}

// innerObjects gives begin and end of each pair of braces without braces
// between them.
func innerObjects(text string) [][2]int {
	var objects [][2]int
	open := -1
	for i := range len(text) {
		switch text[i] {
		case '{':
			open = i
		case '}':
			if open >= 0 {
				objects = append(objects, [2]int{open, i + 1})
				open = -1
			}
		}
	}
	return objects
}

// listedBox makes a box of four numbers in pixels.
func listedBox(numbers []string) (reward.Box, bool) {
	var coords [4]float64
	for i, number := range numbers {
		// What the pattern matches is a number; a huge one is infinite and
		// clamped like any other.
		coords[i], _ = strconv.ParseFloat(number, 64)
	}
	return newBox(coords, boxFrame)
}

// newBox scales coords from an image of the given side and clamps them; it is
// false if nothing of the box is left.
func newBox(coords [4]float64, side float64) (reward.Box, bool) {
	for i, v := range coords {
		coords[i] = min(boxUnits, max(0, v*boxUnits/side))
	}
	filled := coords[0] < coords[2] && coords[1] < coords[3]
	return reward.Box{Coords: coords, Importance: fullImportance}, filled
}

// jsonBox reads a box from a JSON object. stated tells whether the object holds
// one at all, ok whether it is a box of the image.
func jsonBox(object string) (box reward.Box, stated, ok bool) {
	var item struct {
		Box2D      []float64 `json:"box_2d"`
		BBox2D     []float64 `json:"bbox_2d"`
		Label      any       `json:"label"`
		Importance any       `json:"importance"`
	}
	if err := json.Unmarshal([]byte(object), &item); err != nil {
		return reward.Box{}, false, false
	}
	coords, side := item.Box2D, float64(boxUnits)
	if coords == nil {
		coords, side = item.BBox2D, boxFrame
	}
	if len(coords) != 4 {
		return reward.Box{}, coords != nil, false
	}
	box, ok = newBox([4]float64(coords), side)
	if label, is := item.Label.(string); is {
		box.Label = knownLabel(label)
	}
	if importance, is := item.Importance.(float64); is {
		box.Importance = min(fullImportance, max(0, importance))
	}
	return box, true, ok
}

// knownLabel is label in the spelling of reward.Box, or "" if it is neither.
func knownLabel(label string) string {
	label = strings.ToLower(label)
	for _, known := range []string{"artifact", "misalignment"} {
		if strings.Contains(label, known) {
			return known
		}
	}
	return ""
}
