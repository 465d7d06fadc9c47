package batch_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
)

func TestAFullQueueRefusesAndSaysWhenToComeBack(t *testing.T) {
	for _, tt := range []struct {
		name  string
		limit func(*batch.Config)
		n     int
		want  time.Duration
	}{
		{"in samples: 8 in the queue and 2 a second", func(c *batch.Config) { c.QueueSamples = 8 }, 4, 2 * time.Second},
		{"in samples, one over the limit", func(c *batch.Config) { c.QueueSamples = 8 }, 1, time.Second},
		{"in bytes: 48 in the queue and 12 a second", func(c *batch.Config) { c.QueueBytes = 50 }, 7, 3334 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &tally{}
				cfg := plain()
				cfg.Observer = o
				cfg.MaxDelay = time.Millisecond
				tt.limit(&cfg)
				s := start(t, cfg, &fake{takes: 2 * time.Second})
				wantIdentities(t, <-score(t.Context(), s, jobs(0, 0, 0, 0)), 0, 0, 0, 0)
				a := score(t.Context(), s, jobs(sequence(1, 8)...))
				synctest.Wait()
				before := s.Stats().SamplesPerSec
				refused := <-score(t.Context(), s, jobs(sequence(20, tt.n)...))
				var full *batch.OverloadError
				if !errors.As(refused.err, &full) || !errors.Is(refused.err, reward.ErrOverloaded) {
					t.Fatalf("error %v, want an OverloadError", refused.err)
				}
				if full.Samples != 8 || full.Bytes != 48 {
					t.Errorf("%v: want 8 samples in 48 bytes", full)
				}
				if d := full.RetryAfter - tt.want; d < -time.Millisecond || d > time.Millisecond {
					t.Errorf("retry after %v, want %v at %v samples/s", full.RetryAfter, tt.want, before)
				}
				wantIdentities(t, <-a, sequence(1, 8)...)
				wantIdentities(t, <-score(t.Context(), s, jobs(sequence(20, tt.n)...)), sequence(20, tt.n)...)
				shutdown(t, s)
				wantCounts(t, o, map[batch.Event]int{batch.Refused: tt.n})
			})
		})
	}
}

func TestARequestLargerThanTheQueueIsNotToldToRetry(t *testing.T) {
	cfg := plain()
	cfg.QueueSamples, cfg.QueueBytes = 4, 20
	s := start(t, cfg, &fake{})
	for _, tt := range []struct {
		name string
		ids  []int
		want error
	}{
		{"too many samples", sequence(0, 5), reward.ErrTooManyImages},
		{"too many bytes", sequence(0, 4), reward.ErrBodyTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			released := 0
			js := jobs(tt.ids...)
			for i := range js {
				js[i].Release = func() { released++ }
			}
			if _, err := s.Score(t.Context(), js); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if released != len(js) {
				t.Errorf("%d of %d jobs let go of", released, len(js))
			}
		})
	}
	shutdown(t, s)
}

func TestRetryAfterWithoutAnyRateIsASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := plain()
		cfg.QueueSamples = 1
		s := start(t, cfg, &fake{takes: time.Minute})
		a := score(t.Context(), s, jobs(1))
		synctest.Wait()
		var full *batch.OverloadError
		if refused := <-score(t.Context(), s, jobs(2)); !errors.As(refused.err, &full) || full.RetryAfter != time.Second {
			t.Errorf("error %v, want retry in 1s", refused.err)
		}
		wantIdentities(t, <-a, 1)
		shutdown(t, s)
	})
}
