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
	mode   reward.Mode
	prefix string // of the answer

	caption []int32 // the caption's tokens
}

// Prepare resizes the image and makes token ids of the prompt.
func (e *Evaluator) Prepare(ctx context.Context, s *reward.Sample) error {
	if _, ok := s.Prepared.(*prepared); ok {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.Check(); err != nil {
		return err
	}
	p := &prepared{mode: modeOr(s.Mode)}
	if !p.mode.Valid() {
		return reward.ErrUnsupportedMode.With("mode %q is not known, only %s and %s", s.Mode, reward.ModeAnswer, reward.ModeThink)
	}
	p.prefix = e.prefix(p.mode)
	caption := s.Prompt
	if p.mode == reward.ModeAnswer { // inference.py, which thinks, leaves captions as they are
		caption = CleanCaption(caption)
	}
	if p.caption = e.tokenizer.EncodeOrdinary(caption); len(p.caption) > e.options.PromptTokens {
		return reward.ErrInvalidValue.With("prompt: %d tokens, the limit is %d", len(p.caption), e.options.PromptTokens)
	}
	image, err := e.resized(s.Image)
	if err != nil {
		return err
	}
	ids := EncodePrompt(e.config, e.tokenizer, p.mode, caption, e.config.Grid(image).Units(), &p.prefix)
	if p.Prompt, err = qwenvl.LayOut(e.config.Config, ids, image); err != nil {
		return fmt.Errorf("imagedoctor: %w", err)
	}
	s.Prepared = p
	return nil
}

// Tokens is the tokens of a prepared sample in its batch.
func (e *Evaluator) Tokens(s *reward.Sample) int {
	if p, ok := s.Prepared.(*prepared); ok {
		return len(p.IDs)
	}
	return 0
}

// BatchTokens is the limit of a batch in padded tokens: see Options.
func (e *Evaluator) BatchTokens() int { return e.options.BatchTokens }

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

// learn has the draft of a mode learn the wording of an answer.
func (e *Evaluator) learn(mode reward.Mode, prefix string, answer []int32) {
	if learner := e.drafts[mode]; learner != nil {
		learner.Learn(append(e.tokenizer.Encode(prefix), answer...))
	}
}

// joined is the model's inputs for prepared samples of one mode.
func (e *Evaluator) joined(mode reward.Mode, ready []*prepared) qwenvl.Batch {
	b := qwenvl.Batch{MaxNewTokens: e.maxNewTokens(mode), Penalty: e.options.RepetitionPenalty}
	if learner := e.drafts[mode]; learner != nil {
		var hints [][]int32
		if mode == reward.ModeThink { // thoughts repeat what the caption says
			for _, p := range ready {
				hints = append(hints, p.caption)
			}
		}
		b.Draft = learner.Machine(hints...)
		b.DraftState = b.Draft.Start(e.tokenizer.Encode(e.prefix(mode)))
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
func (e *Evaluator) result(p *prepared, out map[string]ort.Tensor, r int) reward.Result {
	tokens, heatmaps := out[outputTokens], out[outputHeatmaps]
	ids := qwenvl.AnswerIDs(&e.config.Config, tokens, r)
	// The parser sees what the model generated, as the reference's does.
	generated := e.tokenizer.Decode(ids, false)
	height, width := int(heatmaps.Shape[2]), int(heatmaps.Shape[3])
	// Both maps end where they end: nobody's append may reach into the other's.
	size := height * width
	maps := heatmaps.Float32s()[r*kinds*size : (r+1)*kinds*size : (r+1)*kinds*size]
	scores, missing := ParseAnswer(generated)
	result := reward.Result{
		Scores: scores[:],
		Maps: []reward.Map{
			Misalignment: {Height: height, Width: width, Data: maps[:size:size]},
			Artifact:     {Height: height, Width: width, Data: maps[size:]},
		},
		Missing: append(missing.Names(), missingMaps(out[outputFound], r)...),
		Text:    p.prefix + generated,
		Trace:   reward.Trace{InputIDs: p.IDs, GeneratedIDs: ids},
	}
	if p.mode == reward.ModeThink {
		result.Boxes = ParseBoxes(generated)
	}
	return result
}

// missingMaps names the maps of row r that the answer did not ask for.
func missingMaps(found ort.Tensor, r int) []string {
	var names []string
	for m, there := range found.Bools()[r*kinds : (r+1)*kinds] {
		if !there {
			names = append(names, mapSpecs(0)[m].Name)
		}
	}
	return names
}
