package batch_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
)

func TestShutdownFinishesQueuedWorkAndAdmitsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := plain()
		cfg.MaxDelay = time.Hour // draining does not wait for company
		s := start(t, cfg, &fake{takes: time.Second})
		a := score(t.Context(), s, jobs(sequence(0, 10)...))
		synctest.Wait()
		drained := make(chan error, 1)
		go func() { drained <- s.Shutdown(context.Background()) }()
		synctest.Wait()
		refused := <-score(t.Context(), s, jobs(99))
		if !errors.Is(refused.err, batch.ErrClosed) || !errors.Is(refused.err, reward.ErrNotReady) {
			t.Errorf("error %v, want ErrClosed", refused.err)
		}
		got := <-a
		wantIdentities(t, got, sequence(0, 10)...)
		if got.took > 3*time.Second {
			t.Errorf("draining took %v, want three batches", got.took)
		}
		if err := <-drained; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		shutdown(t, s) // again
	})
}

func TestShutdownGivesUpAtItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, release := hang()
		s := start(t, plain(), e)
		a := score(t.Context(), s, jobs(sequence(0, 10)...))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v, want its deadline", err)
		}
		got := <-a
		if !errors.Is(got.err, batch.ErrClosed) || got.outcomes != nil {
			t.Errorf("outcomes %v and error %v, want ErrClosed", got.outcomes, got.err)
		}
		if got.took != 5*time.Second {
			t.Errorf("answered after %v, want 5s", got.took)
		}
		release()
		shutdown(t, s)
	})
}
