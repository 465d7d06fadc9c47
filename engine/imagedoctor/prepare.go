package imagedoctor

import (
	"context"
	"fmt"

	"github.com/denseflow/densereward/engine/ort"
	"github.com/denseflow/densereward/engine/qwenvl"
	"github.com/denseflow/densereward/reward"
)

// prepared is a sample ready for a batch.
type prepared struct {
	qwenvl.Prompt
	prefix string // of the answer
}

// maxPromptTokens bounds a caption: cost grows with the square of the prompt.
const maxPromptTokens = 8192

// Prepare resizes the image as the reference does, squashed to a square of
// 512 and then to the processor's size, and makes token ids of the prompt.
func (e *Evaluator) Prepare(ctx context.Context, s *reward.Sample) error {
	if _, ok := s.Prepared.(*prepared); ok {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.Image == nil || s.Image.Width < 1 || s.Image.Height < 1 || len(s.Image.Pix) != 3*s.Image.Width*s.Image.Height {
		return fmt.Errorf("imagedoctor: image: not an image of three bytes a pixel")
	}
	mode := modeOr(s.Mode)
	p := &prepared{prefix: e.prefix(mode)}
	ids := EncodePrompt(e.tokenizer, mode, CleanCaption(s.Prompt), e.config.ImageTokens(), &p.prefix)
	if len(ids) > maxPromptTokens {
		return fmt.Errorf("imagedoctor: prompt: %d tokens, the limit is %d", len(ids), maxPromptTokens)
	}
	image := e.resized(s.Image)
	var err error
	if p.Prompt, err = e.config.LayOut(ids, image); err != nil {
		return fmt.Errorf("imagedoctor: %w", err)
	}
	s.Prepared = p
	return nil
}

// resized is the image as the model sees it, squashed to a square
// by Pillow's bicubic, then resized by torchvision's, as the reference does.
func (e *Evaluator) resized(image *reward.Image) *reward.Image {
	side := e.config.ImageSide()
	square := e.resizer.Resize(image, qwenvl.SquareSide, qwenvl.SquareSide)
	return e.resizer.ResizeTorch(square, side, side)
}

// modeOr is m, or the default mode where it is empty.
func modeOr(m reward.Mode) reward.Mode {
	if m == "" {
		return reward.ModeAnswer
	}
	return m
}

// prefix is what answers in mode m are given to begin with.
func (e *Evaluator) prefix(m reward.Mode) string {
	if m == reward.ModeAnswer && e.options.Prefix != nil {
		return *e.options.Prefix
	}
	return Prefix(m)
}

// batch joins prepared samples of one mode: the graph's inputs by name.
func (e *Evaluator) batch(mode reward.Mode, ready []*prepared) map[string]ort.Tensor {
	return e.inputs(e.joined(mode, ready))
}

// joined is the model's part of batch.
func (e *Evaluator) joined(mode reward.Mode, ready []*prepared) qwenvl.Batch {
	b := qwenvl.Batch{MaxNewTokens: e.options.MaxNewTokens, Penalty: e.options.RepetitionPenalty}
	if b.MaxNewTokens == 0 {
		b.MaxNewTokens = DefaultMaxNewTokens(mode)
	}
	if e.draft != nil {
		b.DraftState = e.draft.Start(e.tokenizer.Encode(e.prefix(mode)))
	}
	for _, p := range ready {
		b.Prompts = append(b.Prompts, p.Prompt)
	}
	return b
}

// inputs adds what the heads want to a batch.
func (e *Evaluator) inputs(b qwenvl.Batch) map[string]ort.Tensor {
	inputs := b.Inputs(e.config.Config)
	grid := e.config.Grid(b.Prompts[0].Images[0])
	inputs[inputParts] = headParts(len(b.Prompts))
	inputs[inputGrid] = ort.Int64s([]int64{2}, []int64{int64(grid.Rows), int64(grid.Cols)})
	inputs[inputCentres] = cellCentres(grid)
	return inputs
}

// result reads row r of the graph's outputs.
func (e *Evaluator) result(mode reward.Mode, p *prepared, out map[string]ort.Tensor, r int) reward.Result {
	tokens, heatmaps := out[outputTokens], out[outputHeatmaps]
	length := int(tokens.Shape[1])
	var ids []int32
	for _, id := range tokens.Int64s()[r*length : (r+1)*length] {
		ids = append(ids, int32(id))
		if e.config.IsEOS(int32(id)) {
			break
		}
	}
	text := p.prefix + e.tokenizer.Decode(ids, false)
	height, width := int(heatmaps.Shape[2]), int(heatmaps.Shape[3])
	// Both maps end where they end: nobody's append may reach into the other's.
	size := height * width
	maps := heatmaps.Float32s()[r*kinds*size : (r+1)*kinds*size : (r+1)*kinds*size]
	scores, missing := ParseAnswer(text)
	result := reward.Result{
		Scores: scores[:],
		Maps: []reward.Map{
			Misalignment: {Height: height, Width: width, Data: maps[:size:size]},
			Artifact:     {Height: height, Width: width, Data: maps[size:]},
		},
		Missing: missing.Names(),
		Text:    text,
		Trace:   reward.Trace{InputIDs: p.IDs, GeneratedIDs: ids},
	}
	if mode == reward.ModeThink {
		result.Boxes = ParseBoxes(text)
	}
	return result
}
