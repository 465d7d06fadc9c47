package batch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
)

var errTest = errors.New("out of luck")

func TestAnEvaluatorsFailureFailsItsBatchOnly(t *testing.T) {
	for _, tt := range []struct {
		name     string
		evaluate func(context.Context, []reward.Sample) ([]reward.Result, error)
		event    batch.Event
		is       error
	}{
		{"an error", func(context.Context, []reward.Sample) ([]reward.Result, error) { return nil, errTest }, batch.EvaluatorFailed, errTest},
		{"a panic", func(context.Context, []reward.Sample) ([]reward.Result, error) { panic("boom") }, batch.EvaluatorPanicked, nil},
		{"a nil pointer", func(context.Context, []reward.Sample) ([]reward.Result, error) {
			var s *reward.Sample
			return nil, errors.New(s.Prompt)
		}, batch.EvaluatorPanicked, nil},
		{"too few results", func(_ context.Context, s []reward.Sample) ([]reward.Result, error) { return resultsOf(s[1:]), nil }, batch.EvaluatorFailed, nil},
		{"too many results", func(_ context.Context, s []reward.Sample) ([]reward.Result, error) {
			return append(resultsOf(s), reward.Result{}), nil
		}, batch.EvaluatorFailed, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				o := &tally{}
				cfg := plain()
				cfg.Observer, cfg.MaxDelay = o, time.Millisecond
				cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
				calls := 0
				e := &fake{evaluate: func(ctx context.Context, samples []reward.Sample) ([]reward.Result, error) {
					if calls++; calls == 1 {
						return tt.evaluate(ctx, samples)
					}
					return resultsOf(samples), nil
				}}
				s := start(t, cfg, e)
				a := <-score(t.Context(), s, jobs(1, 2))
				wantErrors(t, a, reward.ErrEvaluatorFailed)
				if tt.is != nil {
					wantErrors(t, a, tt.is)
				}
				wantIdentities(t, <-score(t.Context(), s, jobs(1, 2)), 1, 2)
				shutdown(t, s)
				wantCounts(t, o, map[batch.Event]int{tt.event: 2, batch.Scored: 2})
				if log.Len() == 0 {
					t.Error("the operator is told nothing")
				}
				if tt.event == batch.EvaluatorPanicked && !strings.Contains(log.String(), "failure_test.go") {
					t.Errorf("the log does not say where the panic arose:\n%s", &log)
				}
			})
		})
	}
}

func TestASamplesOwnFailureCostsItsNeighboursNothing(t *testing.T) {
	give := func(im *reward.Image, err error) func(context.Context) (*reward.Image, error) {
		return func(context.Context) (*reward.Image, error) { return im, err }
	}
	for _, tt := range []struct {
		name  string
		spoil func(*batch.Job)
		want  error
		event batch.Event
	}{
		{"an image that cannot be decoded keeps its code",
			func(j *batch.Job) { j.Load = give(nil, reward.ErrImageCorrupt.Wrap(errTest)) }, reward.ErrImageCorrupt, batch.PrepareFailed},
		{"an error without a code is internal",
			func(j *batch.Job) { j.Load = give(nil, errTest) }, reward.ErrInternal, batch.PrepareFailed},
		{"no image at all",
			func(j *batch.Job) { j.Sample.Image = nil }, batch.ErrNoImage, batch.PrepareFailed},
		{"a decoder that gives nothing",
			func(j *batch.Job) { j.Load = give(nil, nil) }, batch.ErrNoImage, batch.PrepareFailed},
		{"a decoder that panics",
			func(j *batch.Job) { j.Load = func(context.Context) (*reward.Image, error) { panic("boom") } }, reward.ErrInternal, batch.PreparePanicked},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &tally{}
				cfg := plain()
				cfg.Observer = o
				s := start(t, cfg, &fake{})
				js := jobs(1, 2, 3)
				tt.spoil(&js[1])
				a := <-score(t.Context(), s, js)
				if !errors.Is(a.outcomes[1].Err, tt.want) {
					t.Errorf("error %v, want %v", a.outcomes[1].Err, tt.want)
				}
				a.outcomes = []batch.Outcome{a.outcomes[0], a.outcomes[2]}
				wantIdentities(t, a, 1, 3)
				shutdown(t, s)
				wantCounts(t, o, map[batch.Event]int{tt.event: 1, batch.Scored: 2})
			})
		})
	}
}

func TestASampleThatTheEvaluatorRefusesIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &tally{}
		cfg := plain()
		cfg.Observer = o
		cfg.CacheBytes = 1 << 20
		e := &fake{evaluate: func(_ context.Context, samples []reward.Sample) ([]reward.Result, error) {
			results := resultsOf(samples)
			for i := range results {
				if results[i].Scores[0] == 2 {
					results[i] = reward.Result{Err: errTest}
				}
			}
			return results, nil
		}}
		s := start(t, cfg, e)
		for range 2 { // the second time as well: a failure is not cached
			a := <-score(t.Context(), s, jobs(1, 2))
			if !errors.Is(a.outcomes[1].Err, errTest) || a.outcomes[1].Cached {
				t.Errorf("outcome %+v, want the evaluator's own error", a.outcomes[1])
			}
		}
		shutdown(t, s)
		wantCounts(t, o, map[batch.Event]int{batch.SampleFailed: 2, batch.Scored: 2, batch.CacheHit: 1})
	})
}

type preparing struct {
	*fake
	prepare func(*reward.Sample) error
}

var _ reward.Preparer = preparing{}

func (p preparing) Prepare(_ context.Context, s *reward.Sample) error { return p.prepare(s) }

func TestThePreparerRunsAheadOfTheBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &fake{}
		e.evaluate = func(_ context.Context, samples []reward.Sample) ([]reward.Result, error) {
			for _, s := range samples {
				if s.Prepared != fmt.Sprint(identity(s.Image)) {
					return nil, fmt.Errorf("prepared is %v", s.Prepared)
				}
			}
			return resultsOf(samples), nil
		}
		s := start(t, plain(), preparing{e, func(s *reward.Sample) error {
			switch id := identity(s.Image); id {
			case 2:
				return reward.ErrInvalidValue
			case 3:
				panic("boom")
			default:
				s.Prepared = fmt.Sprint(id)
				return nil
			}
		}})
		a := <-score(t.Context(), s, jobs(1, 2, 3))
		if !errors.Is(a.outcomes[1].Err, reward.ErrInvalidValue) || !errors.Is(a.outcomes[2].Err, reward.ErrInternal) {
			t.Errorf("errors %v and %v", a.outcomes[1].Err, a.outcomes[2].Err)
		}
		a.outcomes = a.outcomes[:1]
		wantIdentities(t, a, 1)
		shutdown(t, s)
	})
}

func TestWantOfMemoryHalvesTheBatchForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &tally{}
		cfg := plain()
		cfg.Observer, cfg.MaxBatch, cfg.MaxDelay = o, 16, time.Millisecond
		fits := 5
		e := &fake{evaluate: func(_ context.Context, samples []reward.Sample) ([]reward.Result, error) {
			if len(samples) > fits {
				return nil, fmt.Errorf("device: %w", reward.ErrOutOfMemory)
			}
			return resultsOf(samples), nil
		}}
		s := start(t, cfg, e)
		sizes := func() []int {
			o.mu.Lock()
			defer o.mu.Unlock()
			n := o.sizes
			o.sizes = nil
			return n
		}
		all := sequence(0, 16)
		wantIdentities(t, <-score(t.Context(), s, jobs(all...)), all...)
		if got, want := sizes(), []int{16, 8, 4, 4, 4, 4}; !reflect.DeepEqual(got, want) {
			t.Errorf("first batches %v, want %v", got, want)
		}
		wantIdentities(t, <-score(t.Context(), s, jobs(all...)), all...)
		if got, want := sizes(), []int{4, 4, 4, 4}; !reflect.DeepEqual(got, want) {
			t.Errorf("then batches %v, want %v", got, want)
		}
		fits = 16
		for _, want := range []int{4, 8, 16} {
			if got := s.Stats().MaxBatchSize; got != want {
				t.Errorf("limit %d, want %d", got, want)
			}
			time.Sleep(61 * time.Second)
			wantIdentities(t, <-score(t.Context(), s, jobs(1)), 1)
		}
		wantCounts(t, o, map[batch.Event]int{batch.OutOfMemory: 2, batch.EvaluatorFailed: 0})
		shutdown(t, s)
	})
}

// A try costs a GPU seconds, so that tries that fail become rare.
func TestTriesOfABatchThatIsTooLargeGrowRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := plain()
		cfg.MaxBatch, cfg.MaxDelay = 8, time.Millisecond
		fits := 4
		e := &fake{evaluate: func(_ context.Context, samples []reward.Sample) ([]reward.Result, error) {
			if len(samples) > fits {
				return nil, reward.ErrOutOfMemory
			}
			return resultsOf(samples), nil
		}}
		s := start(t, cfg, e)
		all := sequence(0, 8)
		began := time.Now()
		var tried []int // minutes after the beginning, in steps of 20 s
		for time.Since(began) < 4*time.Hour {
			wantIdentities(t, <-score(t.Context(), s, jobs(all...)), all...)
			if s.Stats().MaxBatchSize == 8 {
				tried = append(tried, int(time.Since(began).Minutes()))
			}
			time.Sleep(20 * time.Second)
		}
		if want := []int{1, 3, 7, 16, 32, 64, 129, 193}; !reflect.DeepEqual(tried, want) {
			t.Errorf("tried after %v minutes, want %v", tried, want)
		}
		fits = 8
		time.Sleep(65 * time.Minute)
		for range 2 {
			wantIdentities(t, <-score(t.Context(), s, jobs(all...)), all...)
		}
		if got := s.Stats().MaxBatchSize; got != 8 {
			t.Errorf("limit %d although there is memory again", got)
		}
		shutdown(t, s)
	})
}

func TestASampleThatNeverFitsFailsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &tally{}
		cfg := plain()
		cfg.Observer, cfg.MaxDelay = o, time.Millisecond
		e := &fake{evaluate: func(_ context.Context, samples []reward.Sample) ([]reward.Result, error) {
			for _, s := range samples {
				if identity(s.Image) == 3 {
					return nil, reward.ErrOutOfMemory
				}
			}
			return resultsOf(samples), nil
		}}
		s := start(t, cfg, e)
		a := <-score(t.Context(), s, jobs(1, 2, 3))
		if !errors.Is(a.outcomes[2].Err, reward.ErrOutOfMemory) || !errors.Is(a.outcomes[2].Err, reward.ErrEvaluatorFailed) {
			t.Errorf("error %v, want out of memory", a.outcomes[2].Err)
		}
		a.outcomes = a.outcomes[:2]
		wantIdentities(t, a, 1, 2)
		shutdown(t, s)
		wantCounts(t, o, map[batch.Event]int{batch.EvaluatorFailed: 1, batch.Scored: 2})
	})
}

func TestHalvesOfABatchThatNobodyWaitsForAreNotTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := plain()
		cfg.MaxDelay = time.Millisecond
		e := &fake{takes: time.Second, evaluate: func(_ context.Context, samples []reward.Sample) ([]reward.Result, error) {
			if len(samples) > 1 {
				return nil, reward.ErrOutOfMemory
			}
			return resultsOf(samples), nil
		}}
		s := start(t, cfg, e)
		stays := score(t.Context(), s, jobs(1))
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		wantErrors(t, <-score(ctx, s, jobs(2)), reward.ErrDeadlineExceeded)
		wantIdentities(t, <-stays, 1)
		shutdown(t, s)
		if got, want := e.seen(), [][]int{{1, 2}, {1}}; len(got) != 2 || len(got[0]) != 2 || !reflect.DeepEqual(got[1], want[1]) {
			t.Errorf("batches %v, want %v", got, want)
		}
	})
}
