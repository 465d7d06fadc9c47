package rewardtest_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
)

func TestTheFakeIsAnEvaluator(t *testing.T) {
	rewardtest.Run(t, func() reward.Evaluator { return &rewardtest.Fake{Side: 16} })
}

func TestTheWriterIsAGenerator(t *testing.T) {
	rewardtest.Run(t, func() reward.Evaluator { return &rewardtest.Writer{Fake: rewardtest.Fake{Side: 16}} })
}

func TestImagesHaveTheirOwnIdentity(t *testing.T) {
	seen := map[uint64]uint64{}
	for seed := range uint64(4096) {
		id := rewardtest.Identity(rewardtest.Image(seed, 32, 24))
		if other, taken := seen[id]; taken {
			t.Fatalf("seeds %d and %d share an identity", seed, other)
		}
		seen[id] = seed
	}
}

func TestTheFakesAnswersTellSamplesApart(t *testing.T) {
	a := reward.Sample{Image: rewardtest.Image(1, 8, 8), Prompt: "a"}
	b := reward.Sample{Image: rewardtest.Image(2, 8, 8), Prompt: "a"}
	c := reward.Sample{Image: rewardtest.Image(1, 8, 8), Prompt: "c"}
	one := rewardtest.Answer(a, 4)
	if slices.Equal(one.Scores, rewardtest.Answer(b, 4).Scores) || slices.Equal(one.Scores, rewardtest.Answer(c, 4).Scores) {
		t.Error("two samples have one answer")
	}
}

func TestTheFakeFailsAsItIsTold(t *testing.T) {
	failure := errors.New("told to")
	samples := []reward.Sample{
		{Image: rewardtest.Image(1, 8, 8), Prompt: "good", Mode: reward.ModeAnswer},
		{Image: rewardtest.Image(2, 8, 8), Prompt: "bad", Mode: reward.ModeAnswer},
	}
	some := &rewardtest.Fake{Fail: func(s reward.Sample) error {
		if s.Prompt == "bad" {
			return failure
		}
		return nil
	}}
	results, err := some.Evaluate(t.Context(), samples)
	if err != nil || results[0].Err != nil || !errors.Is(results[1].Err, failure) {
		t.Errorf("one sample: got %v, %v", results, err)
	}
	all := &rewardtest.Fake{Before: func(context.Context, []reward.Sample) error { return failure }}
	if _, err := all.Evaluate(t.Context(), samples); !errors.Is(err, failure) {
		t.Errorf("the batch: got %v", err)
	}
	if some.Batches() != 1 || some.Samples() != 2 {
		t.Errorf("counted %d batches of %d samples", some.Batches(), some.Samples())
	}
}

func TestTheFakeTakesItsTimeAndNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := &rewardtest.Fake{Delay: time.Hour}
		sample := []reward.Sample{{Image: rewardtest.Image(1, 8, 8), Mode: reward.ModeAnswer}}
		start := time.Now()
		if _, err := fake.Evaluate(t.Context(), sample); err != nil || time.Since(start) != time.Hour {
			t.Errorf("took %v, %v", time.Since(start), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start = time.Now()
		if _, err := fake.Evaluate(ctx, sample); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("took %v, %v", time.Since(start), err)
		}
	})
}
