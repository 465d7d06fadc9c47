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

// thinker takes a minute for a batch that thinks, and a second for one that answers.
type thinker struct{ fake }

func (*thinker) Describe() reward.Description {
	return reward.Description{Name: "fake", Fingerprint: "f", Modes: []reward.Mode{reward.ModeAnswer, reward.ModeThink}}
}

func newThinker() *thinker {
	e := &thinker{}
	e.evaluate = func(_ context.Context, samples []reward.Sample) ([]reward.Result, error) {
		if samples[0].Mode == reward.ModeThink {
			time.Sleep(time.Minute)
		} else {
			time.Sleep(time.Second)
		}
		return resultsOf(samples), nil
	}
	return e
}

func thinking(js []batch.Job) []batch.Job {
	for i := range js {
		js[i].Sample.Mode = reward.ModeThink
	}
	return js
}

func TestLongThoughtsHoldAShortAnswerForNoLongerThanAShortBatch(t *testing.T) {
	for name, client := range map[string]string{"of another client": "b", "of the same client": "a"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := plain()
				cfg.MaxBatch = 16
				s := start(t, cfg, newThinker())
				long := score(batch.WithClient(t.Context(), "a"), s, thinking(jobs(sequence(0, 16)...)))
				synctest.Wait()
				a := <-score(batch.WithClient(t.Context(), client), s, jobs(100))
				wantIdentities(t, a, 100)
				if a.took > time.Second {
					t.Errorf("took %v, a batch of answers takes a second", a.took)
				}
				wantIdentities(t, <-long, sequence(0, 16)...)
				shutdown(t, s)
			})
		})
	}
}

func TestShortAnswersDoNotHoldThoughts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, plain(), newThinker())
		short := score(t.Context(), s, jobs(sequence(0, 400)...)) // a hundred batches
		synctest.Wait()
		a := <-score(t.Context(), s, thinking(jobs(1000)))
		if wantIdentities(t, a, 1000); a.took > time.Minute {
			t.Errorf("took %v, a batch of thoughts takes a minute", a.took)
		}
		wantIdentities(t, <-short, sequence(0, 400)...)
		shutdown(t, s)
	})
}

func TestAClientWithManySamplesLetsAnotherHaveItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &fake{takes: time.Second}
		s := start(t, plain(), e)
		many := score(batch.WithClient(t.Context(), "many"), s, jobs(sequence(0, 400)...))
		synctest.Wait()
		a := <-score(batch.WithClient(t.Context(), "few"), s, jobs(1000))
		// The batch that runs, the one that is prepared already, and its own.
		if wantIdentities(t, a, 1000); a.took > 3*time.Second {
			t.Errorf("took %v, a batch takes a second", a.took)
		}
		wantIdentities(t, <-many, sequence(0, 400)...)
		shutdown(t, s)
	})
}

func TestNoClientTakesTheWholeQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := plain()
		cfg.QueueSamples = 16
		s := start(t, cfg, &fake{takes: time.Second})
		greedy, other := batch.WithClient(t.Context(), "greedy"), batch.WithClient(t.Context(), "other")
		first := score(greedy, s, jobs(sequence(0, 12)...))
		synctest.Wait()
		var overload *batch.OverloadError
		if a := <-score(greedy, s, jobs(12)); !errors.As(a.err, &overload) || overload.RetryAfter <= 0 {
			t.Errorf("beyond its share: error %v, want an OverloadError", a.err)
		}
		wantIdentities(t, <-score(other, s, jobs(sequence(20, 4)...)), sequence(20, 4)...)
		wantIdentities(t, <-first, sequence(0, 12)...)
		// Alone, a client may have any request in the queue that fits.
		wantIdentities(t, <-score(greedy, s, jobs(sequence(40, 16)...)), sequence(40, 16)...)
		shutdown(t, s)
	})
}

func TestThoseWhoLeaveGiveTheirShareBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := plain()
		cfg.QueueSamples, cfg.MaxBatch = 16, 1
		s := start(t, cfg, &fake{takes: time.Second})
		for range 50 {
			ctx, leave := context.WithCancel(batch.WithClient(t.Context(), "restless"))
			a := score(ctx, s, jobs(sequence(0, 12)...))
			synctest.Wait()
			leave()
			if a := <-a; a.err != nil {
				t.Fatalf("a share was not given back: %v", a.err)
			}
		}
		shutdown(t, s)
	})
}
