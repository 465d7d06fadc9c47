package rft_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rft"
)

func smallBatch() *rft.Batch {
	return &rft.Batch{
		Completions:  []string{"<answer>Aesthetic score: 0.5;</answer>", "none"},
		Scores:       reward.Float64Tensor([]float64{0, 0.5, 0, 0}, 1, rft.NumScores),
		Misalignment: reward.Uint8Tensor(make([]uint8, 4), 1, 2, 2),
		Artifact:     reward.Float32Tensor([]float32{1, 0, 0, 0, 0, 0, 0, 0}, 2, 2, 2),
	}
}

func TestABatchSharesATruthOrHasOneForEach(t *testing.T) {
	all, err := smallBatch().Evaluate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Heatmaps 0; four scores 1, or none without an answer; boxes: all three of an
	// empty truth 1, of the other 0.
	if all.Sums[0] != 0+4+3 || all.Sums[1] != 0+0+6 || all.Advantages[0] <= 0 {
		t.Errorf("sums %v, advantages %v", all.Sums, all.Advantages)
	}
}

func TestABatchNamesTheCompletionThatCannotBeCompared(t *testing.T) {
	b := smallBatch()
	b.PredictedArtifact = reward.Float32Tensor([]float32{0, 0, 0, 0, 0, 0, 0, float32(math.NaN())}, 2, 2, 2)
	if _, err := b.Evaluate(t.Context()); !errors.Is(err, reward.ErrNotFinite) || !strings.Contains(err.Error(), "completions[1]") {
		t.Errorf("got %v", err)
	}
}

func TestABatchEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := smallBatch().Evaluate(ctx); !errors.Is(err, reward.ErrCanceled) {
		t.Errorf("got %v", err)
	}
}
