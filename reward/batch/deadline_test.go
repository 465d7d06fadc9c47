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

// wantErrors checks that every outcome has an error that is want.
func wantErrors(t *testing.T, a answer, want error) {
	t.Helper()
	if a.err != nil {
		t.Fatalf("Score: %v", a.err)
	}
	for i, o := range a.outcomes {
		if !errors.Is(o.Err, want) {
			t.Errorf("outcome %d has error %v, want %v", i, o.Err, want)
		}
	}
}

func TestExpiredWorkDoesNotReachTheEvaluator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &tally{}
		cfg := plain()
		cfg.Observer = o
		e := &fake{takes: time.Minute}
		s := start(t, cfg, e)
		first := score(t.Context(), s, jobs(1))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		late := <-score(ctx, s, jobs(2, 3))
		wantErrors(t, late, reward.ErrDeadlineExceeded)
		wantErrors(t, late, context.DeadlineExceeded)
		if late.took != time.Second {
			t.Errorf("answered after %v, want its deadline of 1s", late.took)
		}
		wantIdentities(t, <-first, 1)
		shutdown(t, s)
		if n := len(e.seen()); n != 1 {
			t.Errorf("%d batches, want 1: the expired samples were evaluated", n)
		}
		wantCounts(t, o, map[batch.Event]int{batch.Expired: 2, batch.Scored: 1, batch.Admitted: 3})
	})
}

func TestWhatIsReadyAtTheDeadlineIsReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := plain()
		cfg.MaxBatch = 1
		s := start(t, cfg, &fake{takes: time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		a := <-score(ctx, s, jobs(1, 2))
		scored := 0
		for i, o := range a.outcomes {
			if o.Err == nil {
				scored++
			} else if !errors.Is(o.Err, reward.ErrDeadlineExceeded) {
				t.Errorf("outcome %d: %v", i, o.Err)
			}
		}
		if scored != 1 {
			t.Errorf("%d samples scored, want the one that was in time", scored)
		}
		shutdown(t, s)
	})
}

func TestAVanishedCallersSamplesAreNotEvaluated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &tally{}
		cfg := plain()
		cfg.Observer = o
		cfg.Workers = 1
		e := &fake{takes: time.Minute}
		s := start(t, cfg, e)
		first := score(t.Context(), s, jobs(1))
		synctest.Wait()
		ctx, leave := context.WithCancel(t.Context())
		// One sample ready, one being decoded, one waiting.
		gone := score(ctx, s, []batch.Job{jobs(2)[0], slow(jobs(3)[0], time.Hour), jobs(4)[0]})
		synctest.Wait()
		leave()
		wantErrors(t, <-gone, reward.ErrCanceled)
		synctest.Wait()
		if st := s.Stats(); st.Samples != 1 || st.Bytes != 6 {
			t.Errorf("%+v: want only the first request's sample held", st)
		}
		wantIdentities(t, <-first, 1)
		shutdown(t, s)
		if n := len(e.seen()); n != 1 {
			t.Errorf("%d batches, want 1", n)
		}
		wantCounts(t, o, map[batch.Event]int{batch.Cancelled: 3, batch.Scored: 1})
	})
}

func TestACallerWhoseContextHasEndedIsNotEvaluated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &fake{}
		s := start(t, plain(), e)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		wantErrors(t, <-score(ctx, s, jobs(1, 2)), reward.ErrCanceled)
		shutdown(t, s)
		if n := len(e.seen()); n != 0 {
			t.Errorf("%d batches, want none", n)
		}
	})
}

func TestTheCauseOfACancellationIsTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, plain(), &fake{takes: time.Minute})
		ctx, cancel := context.WithCancelCause(t.Context())
		a := score(ctx, s, jobs(1))
		synctest.Wait()
		cancel(reward.ErrGroupIncomplete)
		wantErrors(t, <-a, reward.ErrGroupIncomplete)
		shutdown(t, s)
	})
}

func TestTheEvaluatorIsToldWhenNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stopped := make(chan error, 1)
		e := &fake{evaluate: func(ctx context.Context, samples []reward.Sample) ([]reward.Result, error) {
			<-ctx.Done()
			stopped <- ctx.Err()
			return nil, ctx.Err()
		}}
		o := &tally{}
		cfg := plain()
		cfg.Observer = o
		cfg.MaxDelay = time.Millisecond
		s := start(t, cfg, e)
		short, cancelShort := context.WithTimeout(t.Context(), time.Second)
		defer cancelShort()
		long, cancelLong := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancelLong()
		a, b := score(short, s, jobs(1)), score(long, s, jobs(2))
		wantErrors(t, <-a, reward.ErrDeadlineExceeded)
		select {
		case <-stopped:
			t.Error("stopped although one caller still waits")
		default:
		}
		wantErrors(t, <-b, reward.ErrDeadlineExceeded)
		<-stopped
		time.Sleep(2 * time.Second)
		shutdown(t, s)
		wantCounts(t, o, map[batch.Event]int{batch.EvaluatorHung: 0, batch.Expired: 2})
	})
}

// hang is an evaluator that ignores its context until released.
func hang() (e *fake, release func()) {
	stuck := make(chan struct{})
	e = &fake{evaluate: func(_ context.Context, samples []reward.Sample) ([]reward.Result, error) {
		<-stuck
		return resultsOf(samples), nil
	}}
	return e, func() { close(stuck) }
}

func TestAHangingEvaluatorIsCountedAndCostsCallersOnlyTheirDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &tally{}
		cfg := plain()
		cfg.Observer = o
		e, release := hang()
		s := start(t, cfg, e)
		released := 0
		for i := range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			js := jobs(i)
			js[0].Release = func() { released++ }
			a := <-score(ctx, s, js)
			cancel()
			wantErrors(t, a, reward.ErrDeadlineExceeded)
			if a.took != 10*time.Second {
				t.Errorf("request %d was answered after %v, want its deadline", i, a.took)
			}
		}
		st := s.Stats()
		if st.Busy != 1 || st.Hung != 1 || st.Samples != 1 {
			t.Errorf("%+v: want the evaluator hung with its one sample", st)
		}
		if released != 2 {
			t.Errorf("%d samples let go of, want the 2 that the evaluator does not hold", released)
		}
		release()
		synctest.Wait()
		wantIdentities(t, <-score(t.Context(), s, jobs(9)), 9)
		shutdown(t, s)
		wantCounts(t, o, map[batch.Event]int{batch.EvaluatorHung: 1, batch.Expired: 3, batch.Scored: 1})
		if released != 3 {
			t.Errorf("%d samples let go of, want 3", released)
		}
	})
}

func TestTheOtherEvaluatorGoesOnWhileOneHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := plain()
		cfg.MaxBatch = 1
		stuck, release := hang()
		good := &fake{takes: time.Second}
		s := start(t, cfg, stuck, good)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		a := <-score(ctx, s, jobs(sequence(0, 6)...))
		failed := 0
		for _, o := range a.outcomes {
			if o.Err != nil {
				failed++
			}
		}
		if failed != 1 {
			t.Errorf("%d samples failed, want the one that hangs", failed)
		}
		release()
		shutdown(t, s)
	})
}
