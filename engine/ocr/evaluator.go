package ocr

import (
	"context"
	"errors"
	"strings"

	"github.com/denseflow/densereward/reward"
)

// Evaluator scores images by the text they show. It is safe for concurrent use.
type Evaluator struct {
	reader *Reader
	note   string
}

var _ reward.Evaluator = (*Evaluator)(nil)

// NewEvaluator makes an evaluator of a reader, which it takes over. note says which
// models the reader has.
func NewEvaluator(r *Reader, note string) *Evaluator { return &Evaluator{r, note} }

// Close frees the reader.
func (e *Evaluator) Close() error { return e.reader.Close() }

// Describe says that it gives one score, one map, what was read and boxes of what is
// wrong in it.
func (e *Evaluator) Describe() reward.Description {
	return reward.Description{
		Name: "ocr", Kind: "ocr", Fingerprint: e.reader.fingerprint, Modes: []reward.Mode{reward.ModeAnswer},
		Scores: []reward.ScoreSpec{{
			Name: "ocr", Min: 0, Max: 1, Weight: 1,
			Doc: "1 - min(d, n)/n for the Levenshtein distance d of what was read from the prompt's quoted text of n characters",
		}},
		Maps: []reward.MapSpec{{Name: "artifact", Height: mapSide, Width: mapSide, Weight: 1, Doc: "characters that differ from the quoted text"}},
		Text: true, Boxes: true,
		Note: e.note,
	}
}

// Evaluate reads the samples' images one after the other. A sample whose prompt
// quotes no text, or whose image is too narrow, has its error.
func (e *Evaluator) Evaluate(ctx context.Context, samples []reward.Sample) ([]reward.Result, error) {
	results := make([]reward.Result, len(samples))
	for i := range samples {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s := &samples[i]
		wanted, err := e.check(s)
		if err != nil {
			results[i].Err = err
			continue
		}
		lines, err := e.reader.Read(ctx, s.Image)
		switch {
		case errors.As(err, new(*reward.Error)): // about the image
			results[i].Err = err
		case err != nil:
			return nil, err
		default:
			results[i] = result(lines, wanted, s.Image)
		}
	}
	return results, ctx.Err()
}

// check is the text that a sample's image should show.
func (e *Evaluator) check(s *reward.Sample) ([]rune, error) {
	if s.Mode != "" && s.Mode != reward.ModeAnswer {
		return nil, reward.ErrUnsupportedMode.With("mode: ocr does not answer in mode %q", s.Mode)
	}
	if err := s.Check(); err != nil {
		return nil, err
	}
	return target(s)
}

// result compares what was read in an image with what it should show.
func result(lines []Line, wanted []rune, image *reward.Image) reward.Result {
	read, from := joined(lines)
	d := compare(read, wanted)
	marked := reward.Map{Height: mapSide, Width: mapSide, Data: make([]float32, mapSide*mapSide)}
	var boxes []reward.Box
	for _, m := range d.marks(lines, from) {
		q := m.corners(lines)
		boxes = append(boxes, q.box(image.Width, image.Height))
		paint(&marked, q, image.Width, image.Height)
	}
	texts := make([]string, len(lines))
	for i, l := range lines {
		texts[i] = l.Text
	}
	return reward.Result{
		Scores: []float64{score(d.distance, len(wanted))},
		Maps:   []reward.Map{marked},
		Text:   strings.Join(texts, "\n"),
		Boxes:  boxes,
	}
}
