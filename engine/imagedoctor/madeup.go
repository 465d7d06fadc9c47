package imagedoctor

import (
	"fmt"
	"strings"

	"github.com/denseflow/densereward/engine/image/png"
	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/reward"
)

// load is a batch to measure with.
type load struct {
	ready  []*prepared
	forced ort.Tensor // the answers, (B,NewTokens) int64
	steps  int        // that its answers take
}

// madeUp makes a batch with random prompts and pictures, and answers of NewTokens
// tokens.
func (m *measuring) madeUp() (load, error) {
	var l load
	var forced []int64
	side := m.e.config.ImageSide()
	for range m.o.Batch {
		p, err := m.e.config.layOut(m.promptIDs(), m.e.imageStart)
		if err != nil {
			return l, err
		}
		picture := make([]uint8, side*side*3)
		for i := range picture {
			picture[i] = uint8(m.rng.Uint32())
		}
		l.ready = append(l.ready, &prepared{prompt: p, picture: picture, prefix: answerPrefix})

		answer := m.answer()
		l.steps = max(l.steps, m.steps(answer))
		for _, id := range answer {
			forced = append(forced, int64(id))
		}
	}
	l.forced = ort.Int64s([]int64{int64(m.o.Batch), int64(m.o.NewTokens)}, forced)
	return l, nil
}

// inputs are the graph's, for answers of at most so many tokens.
func (m *measuring) inputs(l load, newTokens int) []ort.Tensor {
	b := m.e.batch(reward.ModeAnswer, l.ready)
	b.forced, b.maxTokens = l.forced, newTokens
	return b.inputs(m.graph.InputNames())
}

// promptIDs is a prompt of random tokens around the picture.
func (m *measuring) promptIDs() []int32 {
	const plain = 256 // the first ids are single bytes
	ids := make([]int32, m.o.PromptTokens)
	from, to := m.e.imageStart, m.e.imageStart+m.e.config.imageTokens()
	for i := range ids {
		ids[i] = int32(m.rng.IntN(plain))
		if i >= from && i < to {
			ids[i] = m.e.config.ImageTokenID
		}
	}
	return ids
}

// answer is the published form with random scores, NewTokens long: scores have
// as many more digits as it takes, of two and more, or the answer is cut off.
func (m *measuring) answer() []int32 {
	scores := strings.Count(answerForm, number)
	digits := make([]int, scores)
	for i := range digits {
		digits[i] = len(number) - len("0.")
	}
	for {
		ids := m.e.tokenizer.Encode(m.scored(digits))
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
	for i, between := range strings.Split(answerForm, number) {
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
	d := m.e.draft
	if d == nil {
		return len(answer) - 1
	}
	state := d.after(d.start(m.e.tokenizer.Encode(answerPrefix)), answer[0])
	steps, rest := 0, answer[1:]
	for ; len(rest) > 0; steps++ {
		gained := min(d.right(state, rest)+1, len(rest))
		for _, id := range rest[:gained] {
			state = d.after(state, id)
		}
		rest = rest[gained:]
	}
	return steps
}

// noisy is a picture of squareSide that compresses as a photograph does, as PNG.
func (m *measuring) noisy() ([]byte, error) {
	img := &reward.Image{Width: squareSide, Height: squareSide, Pix: make([]uint8, 3*squareSide*squareSide)}
	for i := range img.Pix {
		slope := i / 3 % squareSide / 4
		img.Pix[i] = uint8(slope + m.rng.IntN(16))
	}
	return png.Encode(img)
}
