package batch

import (
	"sync"
	"testing"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
)

// Prompts that are continued and samples that are scored are never in one call, and two
// continuations of one prompt are not one work.
func TestGenerationsAndScoresShareAQueueAndNothingElse(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxDelay = 20 * time.Millisecond
	s, err := New(cfg, &rewardtest.Writer{})
	if err != nil {
		t.Fatal(err)
	}
	image := rewardtest.Image(1, 8, 8)
	continuations := []reward.Continuation{
		{}, {System: "a"}, {ImageLast: true}, {MaxNewTokens: 1}, {Stop: []string{"b"}}, {Stop: []string{"b", "image"}},
	}
	var callers sync.WaitGroup
	for range 2 { // the second time from the cache, or with the first
		for _, c := range continuations {
			callers.Go(func() {
				sample := reward.Sample{Image: image, Prompt: "b c", Mode: reward.ModeGenerate, Continuation: c}
				outcomes, err := s.Score(t.Context(), []Job{{Sample: sample}})
				if err != nil || outcomes[0].Err != nil || *outcomes[0].Generation != rewardtest.Written(sample) {
					t.Errorf("%+v: %+v, %v", c, outcomes, err)
				}
			})
		}
		callers.Go(func() {
			sample := reward.Sample{Image: image, Prompt: "b c", Mode: reward.ModeAnswer}
			outcomes, err := s.Score(t.Context(), []Job{{Sample: sample}})
			if err != nil || outcomes[0].Err != nil || outcomes[0].Generation != nil || len(outcomes[0].Scores) == 0 {
				t.Errorf("a score: %+v, %v", outcomes, err)
			}
		})
		callers.Wait()
	}
	if results := s.Stats().CacheEntries; results != len(continuations)+1 {
		t.Errorf("%d results in the cache, want %d", results, len(continuations)+1)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
