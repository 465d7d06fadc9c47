package evaluators

import (
	"context"
	"fmt"
	"math"

	"github.com/denseflow/densereward/engine/imagedoctor"
	"github.com/denseflow/densereward/engine/imagedoctor/pocket"
	"github.com/denseflow/densereward/reward"
)

// KindImageDoctor is the flagship's kind, which --model stands for.
const KindImageDoctor = "imagedoctor"

// ImageDoctorOptions are those of a table of kind imagedoctor; what it leaves
// out has the command line's value.
type ImageDoctorOptions struct {
	Prefix            *string  `json:"prefix,omitempty"`
	RepetitionPenalty *float64 `json:"repetition-penalty,omitempty"`
	MaxNewTokens      int      `json:"max-new-tokens,omitempty"`
	PromptTokens      int      `json:"prompt-tokens,omitempty"`
	Resize            string   `json:"resize,omitempty"`
	Float32           bool     `json:"float32,omitempty"`
	NoSpeculative     bool     `json:"no-speculative,omitempty"`
	Operators         string   `json:"operators,omitempty"`
	FP8               bool     `json:"fp8,omitempty"`
}

func imageDoctor() Kind {
	return Kind{Name: KindImageDoctor, Source: "checkpoint folder; none is the embedded one", Everywhere: true, Open: openImageDoctor}
}

func openImageDoctor(ctx context.Context, s Spec, at Place) (reward.Evaluator, error) {
	var given ImageDoctorOptions
	if err := s.Options.Decode(&given); err != nil {
		return nil, err
	}
	o := imagedoctor.Options{
		Provider: at.Provider, Threads: at.Threads, MaxBatch: at.Batch,
		Prefix: given.Prefix, MaxNewTokens: given.MaxNewTokens, PromptTokens: given.PromptTokens,
		Resize: imagedoctor.Resize(given.Resize), Float32: given.Float32, NoSpeculative: given.NoSpeculative, FixedDraft: at.FixedDraft, FP8: given.FP8,
	}
	if given.Operators != "" {
		operators, err := ParseOperators(given.Operators)
		if err != nil {
			return nil, fmt.Errorf("operators: %w", err)
		}
		o.Operators = &operators
	}
	if p := given.RepetitionPenalty; p != nil {
		if !(*p > 0) || math.IsInf(*p, 1) {
			return nil, fmt.Errorf("repetition-penalty: %v is not a positive number", *p)
		}
		o.RepetitionPenalty = *p
	}
	if given.MaxNewTokens < 0 {
		return nil, fmt.Errorf("max-new-tokens: %d is below 0", given.MaxNewTokens)
	}
	if given.PromptTokens < 0 {
		return nil, fmt.Errorf("prompt-tokens: %d is below 0", given.PromptTokens)
	}
	dir, err := at.Path(ctx, s.Source)
	if err != nil {
		return nil, err
	}
	if dir == "" {
		if dir, err = pocket.Checkpoint().Open(""); err != nil {
			return nil, err
		}
		o.Demonstration, o.Note = true, pocket.Note
	}
	runtime, err := at.Runtime()
	if err != nil {
		return nil, err
	}
	return imagedoctor.Load(runtime, dir, o)
}
