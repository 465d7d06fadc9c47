package bench

import (
	"fmt"
	"strings"

	"github.com/denseflow/densereward/engine/image/codec"
	"github.com/denseflow/densereward/engine/image/png"
	"github.com/denseflow/densereward/engine/imagedoctor"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/qwenvl"
	"github.com/denseflow/densereward/reward"
)

// load is a batch to measure with.
type load struct {
	prompts []qwenvl.Prompt
	answers ort.Tensor // (B,NewTokens) int64
	steps   int        // that its answers take
}

// synthetic makes a batch with random prompts and images, and answers of NewTokens
// tokens.
func (m *measuring) synthetic() (load, error) {
	var l load
	var answers []int64
	side := m.w.Config().ImageSide()
	for range m.o.Batch {
		image := codec.NewImage(side, side)
		for i := range image.Pix {
			image.Pix[i] = uint8(m.rng.Uint32())
		}
		p, err := qwenvl.LayOut(m.w.Config().Config, m.promptIDs(), image)
		if err != nil {
			return l, err
		}
		l.prompts = append(l.prompts, p)

		answer := m.answer()
		l.steps = max(l.steps, m.steps(answer))
		for _, id := range answer {
			answers = append(answers, int64(id))
		}
	}
	l.answers = ort.Int64s([]int64{int64(m.o.Batch), int64(m.o.NewTokens)}, answers)
	return l, nil
}

// inputs are the graph's, for answers of at most so many tokens.
func (m *measuring) inputs(l load, newTokens int) map[string]ort.Tensor {
	return m.w.Inputs(l.prompts, l.answers, newTokens)
}

// promptIDs is a prompt of random tokens around the image.
func (m *measuring) promptIDs() []int32 {
	const plain = 256 // the first ids are single bytes
	ids := make([]int32, m.o.PromptTokens)
	c := m.w.Config()
	from, to := m.w.ImageStart(), m.w.ImageStart()+c.ImageTokens()
	for i := range ids {
		ids[i] = int32(m.rng.IntN(plain))
		if i >= from && i < to {
			ids[i] = c.ImageTokenID
		}
	}
	return ids
}

// answer is the published form with random scores, NewTokens long: scores have
// as many more digits as it takes, of two and more, or the answer is cut off.
func (m *measuring) answer() []int32 {
	template := m.w.Template()
	scores := strings.Count(template.Text, template.Number)
	digits := make([]int, scores)
	for i := range digits {
		digits[i] = len(template.Number) - len("0.")
	}
	for {
		ids := m.w.Checkpoint().Tokenizer.Encode(m.scored(digits))
		missing := m.o.NewTokens - len(ids)
		if missing <= 0 {
			return ids[:m.o.NewTokens]
		}
		for range missing { // a digit is a token
			digits[m.rng.IntN(scores)]++
		}
	}
}

// scored is the published form with random scores of so many digits.
func (m *measuring) scored(digits []int) string {
	var text strings.Builder
	template := m.w.Template()
	for i, between := range strings.Split(template.Text, template.Number) {
		if i > 0 {
			text.WriteString("0.")
			for range digits[i-1] {
				fmt.Fprintf(&text, "%d", m.rng.IntN(10))
			}
		}
		text.WriteString(between)
	}
	return text.String()
}

// steps is how many steps of decoding an answer takes behind its first token,
// which the prompt gives.
func (m *measuring) steps(answer []int32) int {
	d := m.draft
	if d == nil {
		return len(answer) - 1
	}
	return d.Steps(d.Start(m.w.Checkpoint().Tokenizer.Encode(m.w.Template().Prefix)), answer)
}

// noisy is an image of imagedoctor.SquareSide that compresses as a photograph does, as PNG.
func (m *measuring) noisy() ([]byte, error) {
	img := &reward.Image{Width: imagedoctor.SquareSide, Height: imagedoctor.SquareSide, Pix: make([]uint8, 3*imagedoctor.SquareSide*imagedoctor.SquareSide)}
	for i := range img.Pix {
		slope := i / 3 % imagedoctor.SquareSide / 4
		img.Pix[i] = uint8(slope + m.rng.IntN(16))
	}
	return png.Encode(img)
}
