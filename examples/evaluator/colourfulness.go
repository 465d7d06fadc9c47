// Package colourfulness is a small evaluator to copy: how colourful an image is
// (Hasler and Süsstrunk, "Measuring colourfulness in natural images", 2003).
package colourfulness

import (
	"context"
	"math"

	"github.com/denseflow/densereward/reward"
)

// Evaluator scores images by their colours alone; prompts are not looked at.
type Evaluator struct{}

var _ reward.Evaluator = Evaluator{}

// Describe says what Evaluate gives: one score without an upper bound.
func (Evaluator) Describe() reward.Description {
	return reward.Description{
		Name: "colourfulness", Kind: "colourfulness",
		Fingerprint: "hasler-suesstrunk-2003", // change it with what Evaluate answers
		Modes:       []reward.Mode{reward.ModeAnswer},
		Scores: []reward.ScoreSpec{{
			Name: "colourfulness", Max: math.Inf(1), Weight: 1,
			Doc: "0 is gray, 33 moderately colourful, 82 highly",
		}},
	}
}

// Evaluate scores each sample. What is wrong with one costs the others nothing.
func (Evaluator) Evaluate(ctx context.Context, samples []reward.Sample) ([]reward.Result, error) {
	results := make([]reward.Result, len(samples))
	for i := range samples {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := check(&samples[i]); err != nil {
			results[i].Err = err
			continue
		}
		results[i].Scores = []float64{Colourfulness(samples[i].Image)}
	}
	return results, nil
}

func check(s *reward.Sample) error {
	if s.Mode != reward.ModeAnswer {
		return reward.ErrUnsupportedMode.With("mode: colourfulness does not answer in mode %q", s.Mode)
	}
	return s.Check()
}

// Colourfulness is M of the paper, for levels of 0 to 255: with rg = R-G and
// yb = (R+G)/2-B, the length of their standard deviations plus 0.3 times that of
// their means.
func Colourfulness(image *reward.Image) float64 {
	var rg, yb, rg2, yb2 float64 // sums, and those of squares
	for p := image.Pix; len(p) >= 3; p = p[3:] {
		r, g, b := float64(p[0]), float64(p[1]), float64(p[2])
		x, y := r-g, (r+g)/2-b
		rg, yb, rg2, yb2 = rg+x, yb+y, rg2+x*x, yb2+y*y
	}
	n := float64(image.Width * image.Height)
	rg, yb = rg/n, yb/n
	variance := rg2/n - rg*rg + yb2/n - yb*yb // exact sums of halves: no less than 0 but for rounding
	return math.Sqrt(max(0, variance)) + 0.3*math.Hypot(rg, yb)
}
