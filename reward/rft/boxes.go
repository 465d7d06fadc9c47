package rft

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// What Python's \s and \d match in a str.
const (
	space  = `[\t-\r\x{1c}-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]*`
	number = space + `([+-]?\p{Nd}+(?:\.\p{Nd}+)?)` + space
)

var boxPattern = regexp.MustCompile(`\[` + number + `,` + number + `,` + number + `,` + number + `\]`)

const (
	imageSide = 512 // of the image whose pixels the boxes count
	maxCoord  = 1e9
)

// box is x0, y0, x1, y1 in pixels of a map of Side.
type box [4]float32

// parseBoxes finds every [a,b,c,d] of a text, in whichever block, and scales it
// from pixels of the image to those of a map.
func parseBoxes(text string) []box {
	var boxes []box
	for _, match := range boxPattern.FindAllStringSubmatch(text, -1) {
		var b box
		for i := range b {
			v := parseNumber(match[i+1])
			b[i] = float32(max(-maxCoord, min(maxCoord, v)) * Side / imageSide)
		}
		boxes = append(boxes, b)
	}
	return boxes
}

// parseNumber reads digits of any script, as Python's float does.
func parseNumber(text string) float64 {
	text = strings.Map(func(r rune) rune {
		if r <= unicode.MaxASCII {
			return r
		}
		// The digits of a script are ten in a row, and scripts whose rows adjoin
		// still begin at a multiple of ten from the start of the run.
		n := rune(0)
		for unicode.Is(unicode.Nd, r-n-1) {
			n++
		}
		return '0' + n%10
	}, text)
	v, _ := strconv.ParseFloat(text, 64) // what is too large is infinite
	return v
}

// boxRewards compares boxes with the map of one kind. Where the truth is empty
// all three are 1 without boxes and 0 with any; where it is not they are 0
// without boxes.
func boxRewards(boxes []box, truth truthMap) (iou, average, union float64) {
	if truth.sum == 0 || len(boxes) == 0 {
		if truth.sum == 0 && len(boxes) == 0 {
			return 1, 1, 1
		}
		return 0, 0, 0
	}
	return 1 - meanIoU(boxes), truth.averageInside(boxes), truth.coveredBy(boxes)
}

// meanIoU is the mean intersection over union of all pairs; 0 for one box.
func meanIoU(boxes []box) float64 {
	var sum float64
	var pairs int
	for i, a := range boxes {
		for _, b := range boxes[i+1:] {
			sum += float64(intersectionOverUnion(a, b))
			pairs++
		}
	}
	if pairs == 0 {
		return 0
	}
	return sum / float64(pairs)
}

// intersectionOverUnion is 0 for boxes without area, in float32 as the public
// code's numpy scalars are.
func intersectionOverUnion(a, b box) float32 {
	inter := area(max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
	union := area(a[0], a[1], a[2], a[3]) + area(b[0], b[1], b[2], b[3]) - inter
	if union <= 0 {
		return 0
	}
	return inter / union
}

func area(x0, y0, x1, y1 float32) float32 {
	return max(0, x1-x0) * max(0, y1-y0)
}

// truthMap is a map of Side by Side with its sum.
type truthMap struct {
	data []float32
	sum  float64
}

// cells is the box in whole cells of the map, its corners truncated towards 0
// and clamped; empty where it has none.
func (b box) cells() (x0, y0, x1, y1 int, ok bool) {
	trunc := func(v float32) int { return int(math.Trunc(float64(v))) }
	x0, y0 = max(0, trunc(b[0])), max(0, trunc(b[1]))
	x1, y1 = min(Side, trunc(b[2])), min(Side, trunc(b[3]))
	return x0, y0, x1, y1, x1 > x0 && y1 > y0
}

// averageInside is the mean over boxes of the map's mean inside; boxes without a
// cell are left out, and it is 0 when none is left.
func (m truthMap) averageInside(boxes []box) float64 {
	var sum float64
	var count int
	for _, b := range boxes {
		x0, y0, x1, y1, ok := b.cells()
		if !ok {
			continue
		}
		var inside float64
		for y := y0; y < y1; y++ {
			for _, v := range m.data[y*Side+x0 : y*Side+x1] {
				inside += float64(v)
			}
		}
		sum += inside / float64((x1-x0)*(y1-y0))
		count++
	}
	if count == 0 {
		return 0
	}
	return sum / float64(count)
}

// coveredBy is the share of the map's sum that lies in the union of the boxes.
func (m truthMap) coveredBy(boxes []box) float64 {
	var union [Side * Side]bool
	var covered float64
	for _, b := range boxes {
		x0, y0, x1, y1, ok := b.cells()
		if !ok {
			continue
		}
		for y := y0; y < y1; y++ {
			for at := y*Side + x0; at < y*Side+x1; at++ {
				if !union[at] {
					union[at] = true
					covered += float64(m.data[at])
				}
			}
		}
	}
	return covered / (m.sum + 1e-8)
}
