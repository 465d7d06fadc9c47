package batch_test

import (
	"context"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
)

func TestSamplesOfManyRequestsShareABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := plain()
		cfg.MaxDelay = time.Second
		e := &fake{takes: time.Minute}
		s := start(t, cfg, e)
		a := score(t.Context(), s, jobs(1, 2))
		synctest.Wait()
		b := score(t.Context(), s, jobs(3, 4))
		wantIdentities(t, <-a, 1, 2)
		wantIdentities(t, <-b, 3, 4)
		if got := e.seen(); len(got) != 1 || len(got[0]) != 4 {
			t.Errorf("batches %v, want one of all four", got)
		}
		shutdown(t, s)
	})
}

func TestALargeRequestIsSpreadOverBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &fake{takes: time.Second}
		s := start(t, plain(), e)
		a := <-score(t.Context(), s, jobs(sequence(0, 10)...))
		wantIdentities(t, a, sequence(0, 10)...)
		for _, b := range e.seen() {
			if len(b) > 4 {
				t.Errorf("a batch of %d exceeds MaxBatch 4", len(b))
			}
		}
		shutdown(t, s)
	})
}

func TestALoneRequestWaitsNoLongerThanMaxDelay(t *testing.T) {
	const delay, takes, decode = 7 * time.Millisecond, 100 * time.Millisecond, 3 * time.Millisecond
	for _, tt := range []struct {
		name    string
		eager   bool
		jobs    []batch.Job
		decodes time.Duration
		want    time.Duration
	}{
		{"one decoded sample waits MaxDelay", false, jobs(1), 0, delay + takes},
		{"an eager evaluator does not wait at all", true, jobs(1), 0, takes},
		{"a full batch does not wait", false, jobs(1, 2, 3, 4), 0, takes},
		{"the delay counts from the request's last decoded sample", false,
			[]batch.Job{jobs(1)[0], slow(jobs(2)[0], decode)}, decode, decode + delay + takes},
		{"an eager evaluator waits for the request's own samples", true,
			[]batch.Job{jobs(1)[0], slow(jobs(2)[0], decode)}, decode, decode + takes},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := plain()
				cfg.MaxDelay, cfg.Eager = delay, tt.eager
				e := &fake{takes: takes}
				s := start(t, cfg, e)
				a := <-score(t.Context(), s, tt.jobs)
				if a.took != tt.want {
					t.Errorf("took %v, want %v", a.took, tt.want)
				}
				if n := len(e.seen()); n != 1 {
					t.Errorf("%d batches, want 1", n)
				}
				shutdown(t, s)
			})
		})
	}
}

func TestAStuckSiblingHoldsABatchUpOnlyForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := plain()
		cfg.MaxDelay = 10 * time.Millisecond
		e := &fake{}
		s := start(t, cfg, e)
		began := time.Now()
		a := score(t.Context(), s, []batch.Job{jobs(1)[0], slow(jobs(2)[0], time.Hour)})
		for len(e.seen()) == 0 {
			time.Sleep(time.Millisecond)
		}
		if d := time.Since(began); d > 110*time.Millisecond {
			t.Errorf("the ready sample was evaluated after %v, want ten MaxDelays at most", d)
		}
		wantIdentities(t, <-a, 1, 2)
		shutdown(t, s)
	})
}

func TestModesDoNotShareABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &fake{takes: time.Second}
		s := start(t, plain(), e)
		js := jobs(sequence(0, 8)...)
		for i := range js {
			if i%2 == 1 {
				js[i].Sample.Mode = reward.ModeThink
			}
		}
		wantIdentities(t, <-score(t.Context(), s, js), sequence(0, 8)...)
		for _, b := range e.seen() {
			for _, id := range b {
				if id%2 != b[0]%2 {
					t.Errorf("batch %v holds both modes", b)
				}
			}
		}
		shutdown(t, s)
	})
}

func TestBatchesAreTakenFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &fake{takes: time.Second}
		cfg := plain()
		cfg.Workers = 1
		s := start(t, cfg, e)
		var answers []<-chan answer
		for i := range 6 {
			answers = append(answers, score(t.Context(), s, jobs(2*i, 2*i+1)))
			synctest.Wait()
		}
		for i, a := range answers {
			wantIdentities(t, <-a, 2*i, 2*i+1)
		}
		var order []int
		for _, b := range e.seen() {
			order = append(order, b...)
		}
		if want := sequence(0, 12); !reflect.DeepEqual(order, want) {
			t.Errorf("evaluated in the order %v", order)
		}
		shutdown(t, s)
	})
}

func TestIdleEvaluatorsShareTheLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := plain()
		cfg.MaxBatch = 16
		a, b := &fake{takes: time.Second}, &fake{takes: time.Second}
		cfg.MaxDelay = time.Millisecond
		s := start(t, cfg, a, b)
		got := <-score(t.Context(), s, jobs(sequence(0, 12)...))
		wantIdentities(t, got, sequence(0, 12)...)
		if got.took > time.Second+cfg.MaxDelay {
			t.Errorf("took %v: the evaluators did not work at the same time", got.took)
		}
		if na, nb := len(a.seen()[0]), len(b.seen()[0]); na != 6 || nb != 6 {
			t.Errorf("shares of %d and %d, want 6 each", na, nb)
		}
		shutdown(t, s)
	})
}

func TestAFasterEvaluatorTakesMoreOfTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fast, slow := &fake{takes: time.Second}, &fake{takes: 3 * time.Second}
		s := start(t, plain(), fast, slow)
		wantIdentities(t, <-score(t.Context(), s, jobs(sequence(0, 64)...)), sequence(0, 64)...)
		if f, sl := len(fast.seen()), len(slow.seen()); f < 2*sl {
			t.Errorf("the fast evaluator had %d batches, the slow one %d", f, sl)
		}
		shutdown(t, s)
	})
}

func TestDecodingOverlapsEvaluation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := plain()
		cfg.MaxDelay = 10 * time.Millisecond
		e := &fake{takes: time.Second}
		s := start(t, cfg, e)
		js := jobs(sequence(0, 16)...)
		for i := range js {
			js[i] = slow(js[i], time.Second) // four at a time: a second a batch
		}
		a := <-score(t.Context(), s, js)
		wantIdentities(t, a, sequence(0, 16)...)
		// Decoding of the first batch, then four evaluations, under which the
		// rest is decoded. One after the other it would be 8 s.
		if a.took > 5*time.Second+100*time.Millisecond {
			t.Errorf("took %v, want about 5 s", a.took)
		}
		shutdown(t, s)
	})
}

func TestDecodingRunsNoFurtherAheadThanNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &fake{takes: time.Hour}
		s := start(t, plain(), e)
		a := score(t.Context(), s, jobs(sequence(0, 100)...))
		synctest.Wait()
		st := s.Stats()
		if st.Busy != 1 || st.Ready > 8 || st.Waiting < 88 {
			t.Errorf("%+v: want the next batch and one sample a worker ready, the rest waiting", st)
		}
		wantIdentities(t, <-a, sequence(0, 100)...)
		shutdown(t, s)
	})
}

func TestNoMoreSamplesAreDecodedAtATimeThanWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := plain()
		cfg.Workers = 3
		s := start(t, cfg, &fake{})
		js := jobs(sequence(0, 20)...)
		running, most := make(chan int, 1), 0
		running <- 0
		for i := range js {
			im := js[i].Sample.Image
			js[i].Load = func(context.Context) (*reward.Image, error) {
				n := <-running + 1
				most = max(most, n)
				running <- n
				time.Sleep(time.Second)
				running <- <-running - 1
				return im, nil
			}
		}
		wantIdentities(t, <-score(t.Context(), s, js), sequence(0, 20)...)
		if most != 3 {
			t.Errorf("%d decoders ran at a time, want 3", most)
		}
		shutdown(t, s)
	})
}

func TestAnEmptyRequestIsAnsweredAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, plain(), &fake{})
		wantIdentities(t, <-score(t.Context(), s, nil))
		shutdown(t, s)
	})
}

func TestTimingAddsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := plain()
		cfg.MaxDelay = 5 * time.Millisecond
		cfg.Workers = 1
		s := start(t, cfg, &fake{takes: 100 * time.Millisecond})
		a := <-score(t.Context(), s, []batch.Job{slow(jobs(1)[0], 20*time.Millisecond), slow(jobs(2)[0], 30*time.Millisecond)})
		ms := time.Millisecond
		want := []batch.Timing{
			{Queue: 0, Prepare: 20 * ms, Wait: 35 * ms, Evaluate: 100 * ms},
			{Queue: 20 * ms, Prepare: 30 * ms, Wait: 5 * ms, Evaluate: 100 * ms},
		}
		for i, o := range a.outcomes {
			if o.Timing != want[i] {
				t.Errorf("sample %d: %+v, want %+v", i, o.Timing, want[i])
			}
		}
		shutdown(t, s)
	})
}
