package compat

import (
	"errors"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/scoring"
)

func TestTokensOfAChatAreCountedAndNoAnswerIsCut(t *testing.T) {
	outcome := batch.Outcome{Result: reward.Result{Text: "three tokens\xff", Trace: reward.Trace{InputIDs: make([]int32, 7), GeneratedIDs: make([]int32, 3)}}}
	scored := &scoring.Scored{Mapped: &scoring.Mapped{Evaluated: &scoring.Evaluated{Outcomes: []batch.Outcome{outcome}, Errors: make([]*reward.Error, 1)}}}
	for _, limit := range []int{0, 3, 4096} {
		p, err := (&chat{maxTokens: limit}).answer(scored)
		if err != nil {
			t.Fatal(err)
		}
		if p.Usage != (usage{PromptTokens: 7, CompletionTokens: 3, TotalTokens: 10}) || p.Choices[0].Message.Content != "three tokens\uFFFD" {
			t.Errorf("got %+v", p)
		}
	}
	_, err := (&chat{maxTokens: 2}).answer(scored)
	if !errors.Is(err, reward.ErrInvalidValue) || !strings.Contains(err.Error(), "max_tokens: the answer has 3 tokens") {
		t.Errorf("got %v", err)
	}
}
