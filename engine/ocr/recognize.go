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

// What RapidOCR and PaddleOCR recognise with.
const (
	lineHeight   = 48          // pixels
	lineRatio    = 320.0 / 48  // of the narrowest input, width by height
	lineBatch    = 6           // lines that are recognised at once
	lineMinScore = 0.5         // lines whose mean probability is less are no text
	maxLineRatio = 4000.0 / 48 // wider lines are squeezed
)

// reading is what was recognised in a line.
type reading struct {
	text  []rune
	at    []float64 // the middle of each character, 0 to 1 from the line's left to its right
	score float64   // the mean of the characters' probabilities
}

// recognize reads lines of text. Lines of like shape go through the network
// together, as the reference has them: the widest decides how the others are
// padded.
func (r *Reader) recognize(ctx context.Context, lines []*reward.Image) ([]reading, error) {
	order := make([]int, len(lines))
	for i := range order {
		order[i] = i
	}
	ratio := func(i int) float64 { return float64(lines[i].Width) / float64(lines[i].Height) }
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(ratio(a), ratio(b)) })
	readings := make([]reading, len(lines))
	for part := range slices.Chunk(order, lineBatch) {
		widest := lineRatio
		for _, i := range part {
			widest = min(max(widest, ratio(i)), maxLineRatio)
		}
		if err := r.recognizeBatch(ctx, lines, part, widest, readings); err != nil {
			return nil, err
		}
	}
	return readings, nil
}

func (r *Reader) recognizeBatch(ctx context.Context, lines []*reward.Image, part []int, ratio float64, readings []reading) error {
	width := int(lineHeight * ratio)
	input := make([]float32, len(part)*3*lineHeight*width)
	used := make([]int, len(part)) // columns of each line
	for k, i := range part {
		used[k] = lineInput(input[k*3*lineHeight*width:], lines[i], width)
	}
	out, err := r.recognizer.Run(ctx, []ort.Tensor{ort.Float32s([]int64{int64(len(part)), 3, lineHeight, int64(width)}, input)})
	if err != nil {
		return fmt.Errorf("ocr: recognising %d lines of %dx%d: %w", len(part), width, lineHeight, err)
	}
	shape := out[0].Shape
	if len(shape) != 3 || shape[0] != int64(len(part)) || shape[2] != int64(len(r.characters)) {
		return fmt.Errorf("ocr: the recogniser gives %v, want (%d,steps,%d)", shape, len(part), len(r.characters))
	}
	steps := int(shape[1])
	values := out[0].Float32s()
	for k, i := range part {
		share := float64(used[k]) / float64(width)
		readings[i] = r.decode(values[k*steps*len(r.characters):(k+1)*steps*len(r.characters)], steps, share)
	}
	return nil
}

// lineInput writes a line into (3,lineHeight,width), blue first, zeros behind it, and
// returns its width.
func lineInput(dst []float32, line *reward.Image, width int) int {
	used := min(width, int(math.Ceil(lineHeight*(float64(line.Width)/float64(line.Height)))))
	resized := resizeLinear(line, used, lineHeight)
	for y := range lineHeight {
		for x := range used {
			for c := range 3 {
				v := float32(resized.Pix[(y*used+x)*3+2-c]) / 255
				dst[(c*lineHeight+y)*width+x] = (v - 0.5) / 0.5
			}
		}
	}
	return used
}

// blank is the class of no character: connectionist temporal classification,
// Graves et al. 2006.
const blank = 0

// decode takes at each step the likeliest class, joins repetitions and drops blanks.
// The line takes up share of the steps.
func (r *Reader) decode(values []float32, steps int, share float64) reading {
	var out reading
	previous := blank
	for s := range steps {
		row := values[s*len(r.characters) : (s+1)*len(r.characters)]
		best := 0
		for i, v := range row {
			if v > row[best] {
				best = i
			}
		}
		if best != blank && best != previous {
			for _, c := range r.characters[best] {
				out.text = append(out.text, c)
				out.at = append(out.at, min(1, (float64(s)+0.5)/float64(steps)/share))
			}
			out.score += float64(row[best])
		}
		previous = best
	}
	if n := len(out.text); n > 0 {
		out.score /= float64(n)
	}
	return out
}
