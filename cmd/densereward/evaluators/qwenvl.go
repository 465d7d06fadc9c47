package evaluators

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/denseflow/densereward/engine/qwenvl/evaluator"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/judge"
)

// qwenVL is a Qwen2.5-VL or Qwen3-VL that is asked by a judge file.
func qwenVL() Kind {
	return Kind{
		Name:       evaluator.Kind,
		Source:     "checkpoint folder of Qwen2.5-VL or Qwen3-VL; option judge: a file, or one of " + strings.Join(judge.Names(), ", "),
		Everywhere: true, Open: openQwenVL,
	}
}

func openQwenVL(ctx context.Context, s Spec, at Place) (reward.Evaluator, error) {
	var o struct {
		Judge             string   `json:"judge"`
		RepetitionPenalty *float64 `json:"repetition-penalty"`
		PromptTokens      int      `json:"prompt-tokens"`
		MaxPixels         int      `json:"max-pixels"`
		Float32           bool     `json:"float32"`
		NoSpeculative     bool     `json:"no-speculative"`
	}
	if err := s.Options.Decode(&o); err != nil {
		return nil, err
	}
	if s.Source == "" {
		return nil, errors.New("source: want a checkpoint folder")
	}
	if o.Judge == "" {
		return nil, fmt.Errorf("judge: required: a file, or one of %s", strings.Join(judge.Names(), ", "))
	}
	file, err := judge.Load(o.Judge)
	if err != nil {
		return nil, err
	}
	options := evaluator.Options{
		Provider: at.Provider, Threads: at.Threads, MaxBatch: at.Batch, Float32: o.Float32, NoSpeculative: o.NoSpeculative, FixedDraft: at.FixedDraft,
		PromptTokens: o.PromptTokens, MaxPixels: o.MaxPixels,
	}
	if p := o.RepetitionPenalty; p != nil {
		if !(*p > 0) || math.IsInf(*p, 1) {
			return nil, fmt.Errorf("repetition-penalty: %v is not a positive number", *p)
		}
		options.RepetitionPenalty = *p
	}
	dir, err := at.Path(ctx, s.Source)
	if err != nil {
		return nil, err
	}
	runtime, err := at.Runtime()
	if err != nil {
		return nil, err
	}
	return evaluator.Load(runtime, dir, file, options)
}
