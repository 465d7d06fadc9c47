package ocr

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/reward"
)

// What RapidOCR and PaddleOCR detect with: differentiable binarization, arXiv
// 1911.08947.
const (
	detectMinSide   = 736  // shorter sides are enlarged to it
	detectMultiple  = 32   // of the sides of what the network takes
	detectThreshold = 0.3  // from where a place may be text
	detectBoxScore  = 0.5  // from what mean a region is text
	detectUnclip    = 1.6  // how far regions, which the network shrinks, are grown
	detectMinBox    = 3    // shorter sides are no text, in places of the map
	detectMostBoxes = 1000 // regions looked at
)

// detect finds the rectangles of text in an image, from top to bottom and from left
// to right.
func (r *Reader) detect(ctx context.Context, image *reward.Image) ([]quad, error) {
	width, height := detectSize(image.Width, image.Height, r.shortSide)
	resized := resizeLinear(image, width, height)
	input := make([]float32, 3*width*height)
	for i := range width * height {
		for c := range 3 { // blue first
			v := float64(float32(resized.Pix[i*3+2-c]) * float32(1.0/255))
			input[c*width*height+i] = float32((v - 0.5) / 0.5)
		}
	}
	out, err := r.detector.Run(ctx, []ort.Tensor{ort.Float32s([]int64{1, 3, int64(height), int64(width)}, input)})
	if err != nil {
		return nil, fmt.Errorf("ocr: detecting text in %dx%d: %w", width, height, err)
	}
	if want := []int64{1, 1, int64(height), int64(width)}; !slices.Equal(out[0].Shape, want) {
		return nil, fmt.Errorf("ocr: the detector gives %v, want %v", out[0].Shape, want)
	}
	return boxes(out[0].Float32s(), width, height, image.Width, image.Height), nil
}

// detectSize is the size that an image is resized to, whose shorter side is to have
// least pixels.
func detectSize(width, height, least int) (int, int) {
	ratio := 1.0
	if short := min(width, height); short < least {
		ratio = float64(least) / float64(short)
	}
	side := func(v int) int {
		v = int(float64(v) * ratio)
		return max(detectMultiple, int(math.RoundToEven(float64(v)/detectMultiple))*detectMultiple)
	}
	return side(width), side(height)
}

// boxes finds rectangles in a map (height,width) of how likely each place is text,
// in pixels of an image.
func boxes(text []float32, width, height, imageWidth, imageHeight int) []quad {
	on := make([]bool, len(text))
	for i, v := range text {
		on[i] = v > detectThreshold
	}
	var found []quad
	for _, points := range (bitmap{width, height, on}).dilated().outlines(detectMostBoxes) {
		q, side := smallestRectangle(points)
		if side < detectMinBox || meanWithin(text, width, height, q) < detectBoxScore {
			continue
		}
		area, length := q.shape()
		q, side = smallestRectangle(grown(q, area*detectUnclip/length))
		if side < detectMinBox+2 {
			continue
		}
		for i, p := range q {
			q[i] = point{
				min(max(math.RoundToEven(p.x/float64(width)*float64(imageWidth)), 0), float64(imageWidth)),
				min(max(math.RoundToEven(p.y/float64(height)*float64(imageHeight)), 0), float64(imageHeight)),
			}
		}
		if q = within(clockwise(q), imageWidth, imageHeight); wide(q) {
			found = append(found, q)
		}
	}
	return readingOrder(found)
}

func within(q quad, width, height int) quad {
	for i, p := range q {
		q[i] = point{min(p.x, float64(width-1)), min(p.y, float64(height-1))}
	}
	return q
}

// wide reports whether a rectangle is more than a few pixels wide and high.
func wide(q quad) bool {
	return int(q[0].minus(q[1]).length()) > detectMinBox && int(q[0].minus(q[3]).length()) > detectMinBox
}

// sameLine is how many pixels the upper left corners of rectangles on one line may
// differ in height.
const sameLine = 10

// readingOrder sorts rectangles by height, those on one line from left to right.
func readingOrder(boxes []quad) []quad {
	slices.SortStableFunc(boxes, func(a, b quad) int {
		return cmp.Or(cmp.Compare(a[0].y, b[0].y), cmp.Compare(a[0].x, b[0].x))
	})
	for i := range len(boxes) - 1 {
		for j := i; j >= 0; j-- {
			a, b := boxes[j][0], boxes[j+1][0]
			if math.Abs(b.y-a.y) >= sameLine || b.x >= a.x {
				break
			}
			boxes[j], boxes[j+1] = boxes[j+1], boxes[j]
		}
	}
	return boxes
}
