package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/servertest"
)

func TestARolloutEndsInAGradientForEachImage(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), servertest.Listen(t, server.Config{}, &rewardtest.Fake{}), &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 11 {
		t.Fatalf("%d lines:\n%s", len(lines), out.String())
	}
	for _, line := range lines[1:9] {
		var scores [4]float64
		var total, gradient float64
		if _, err := fmt.Sscan(line, &scores[0], &scores[1], &scores[2], &scores[3], &total, &gradient); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if want := 0.8*scores[0] + 0.1*scores[1] + 0.1*scores[2]; total < want-0.01 || total > want+0.01 {
			t.Errorf("reward %v of scores %v", total, scores)
		}
		if gradient <= 0 {
			t.Errorf("gradient %v in %q", gradient, line)
		}
	}
	// Before the policy has moved the ratio is 1 and there is no divergence.
	if want := "ratio 1.0000, KL 0"; !strings.Contains(lines[10], want) {
		t.Errorf("%q lacks %q", lines[10], want)
	}
}

func TestAnImageThatCannotBeScoredEndsTheRollout(t *testing.T) {
	fake := &rewardtest.Fake{Fail: func(s reward.Sample) error {
		if strings.Contains(s.Prompt, "square") {
			return reward.ErrEvaluatorFailed
		}
		return nil
	}}
	err := run(t.Context(), servertest.Listen(t, server.Config{}, fake), &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "image 4") {
		t.Errorf("%v, want one that names image 4", err)
	}
}
