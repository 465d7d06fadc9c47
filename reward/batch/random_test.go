package batch_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
)

// TestEverySampleIsAnsweredWithItsOwnResult sends random requests to random
// Schedulers over evaluators that fail, panic, run out of memory and hang, by
// clients that expire and vanish, and checks what must always hold: each job
// is answered with its own result or an error that can have happened to it,
// each is let go of once, the queue's limits are kept, and nothing is left.
func TestEverySampleIsAnsweredWithItsOwnResult(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newStorm(t, seed).run() })
		})
	}
}

// storm is one random run.
type storm struct {
	t        *testing.T
	rng      *rand.Rand
	cfg      batch.Config
	s        *batch.Scheduler
	jobs     int64
	released atomic.Int64
	answered atomic.Int64
	scored   atomic.Int64
}

func newStorm(t *testing.T, seed uint64) *storm {
	st := &storm{t: t, rng: rand.New(rand.NewPCG(seed, 1))}
	r := st.rng
	st.cfg = batch.Config{
		MaxBatch:     1 + r.IntN(16),
		MaxDelay:     time.Duration(r.IntN(3)) * 5 * time.Millisecond,
		Eager:        r.IntN(2) == 0,
		Workers:      1 + r.IntN(4),
		QueueSamples: 20 + r.IntN(100),
		QueueBytes:   int64(200 + r.IntN(1000)),
		CacheBytes:   int64(r.IntN(3)) * 5_000,
		Observer:     &tally{},
	}
	var evaluators []reward.Evaluator
	for i := range 1 + r.IntN(3) {
		evaluators = append(evaluators, moody(uint64(i)+10*seed))
	}
	st.s = start(t, st.cfg, evaluators...)
	return st
}

// moody is an evaluator that now and then does what it should not.
func moody(seed uint64) *fake {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, 2))
	return &fake{evaluate: func(ctx context.Context, samples []reward.Sample) ([]reward.Result, error) {
		mu.Lock()
		mood, takes := rng.IntN(20), time.Duration(rng.IntN(40))*time.Millisecond
		mu.Unlock()
		time.Sleep(takes) // whatever ctx says
		switch {
		case mood == 0:
			return nil, errTest
		case mood == 1:
			panic(errTest)
		case mood == 2:
			time.Sleep(3 * time.Second)
		case mood <= 5 && len(samples) > 2:
			return nil, reward.ErrOutOfMemory
		case mood == 6:
			return resultsOf(samples[:len(samples)-1]), nil
		}
		return resultsOf(samples), ctx.Err()
	}}
}

func (st *storm) run() {
	var clients sync.WaitGroup
	for range 120 {
		time.Sleep(time.Duration(st.rng.IntN(12)) * time.Millisecond)
		ids, js := st.request()
		ctx, cancel := st.context()
		clients.Go(func() {
			defer cancel()
			outcomes, err := st.s.Score(ctx, js)
			st.check(ids, outcomes, err)
		})
		if now := st.s.Stats(); now.Samples > st.cfg.QueueSamples || now.Bytes > st.cfg.QueueBytes {
			st.t.Errorf("holds %d samples in %d bytes, limits %d and %d", now.Samples, now.Bytes, st.cfg.QueueSamples, st.cfg.QueueBytes)
		}
	}
	clients.Wait()
	shutdown(st.t, st.s)
	if a, r := st.answered.Load(), st.released.Load(); a != st.jobs || r != st.jobs {
		st.t.Errorf("%d of %d jobs answered, %d let go of", a, st.jobs, r)
	}
	if st.scored.Load() == 0 {
		st.t.Error("nothing was scored at all")
	}
}

// request makes a random request from a small world of images, some of which
// take time to decode, fail or panic.
func (st *storm) request() ([]int, []batch.Job) {
	ids := make([]int, 1+st.rng.IntN(20))
	for i := range ids {
		ids[i] = st.rng.IntN(400)
	}
	js := jobs(ids...)
	for i := range js {
		var once atomic.Bool
		js[i].Release = func() {
			if once.Swap(true) {
				st.t.Errorf("image %d was let go of twice", ids[i])
			}
			st.released.Add(1)
		}
		if st.rng.IntN(4) == 0 {
			js[i].Sample.Mode = reward.ModeThink
		}
		if st.rng.IntN(2) == 0 { // two files have the same image
			js[i].Source = fmt.Appendf(nil, "file %d of image %d", st.rng.IntN(2), ids[i])
		}
		switch st.rng.IntN(30) {
		case 0, 1, 2, 3, 4, 5, 6, 7, 8, 9:
			js[i] = slow(js[i], time.Duration(st.rng.IntN(8))*time.Millisecond)
		case 10:
			js[i].Source = nil
			js[i].Load = func(context.Context) (*reward.Image, error) { return nil, reward.ErrImageCorrupt }
		case 11:
			js[i].Source = nil
			js[i].Load = func(context.Context) (*reward.Image, error) { panic(errTest) }
		}
	}
	st.jobs += int64(len(js))
	return ids, js
}

// context is a client's: most are patient, some are not, some vanish.
func (st *storm) context() (context.Context, context.CancelFunc) {
	d := time.Duration(st.rng.IntN(100)) * time.Millisecond
	switch st.rng.IntN(4) {
	case 0:
		return context.WithTimeout(context.Background(), d)
	case 1:
		ctx, cancel := context.WithCancel(context.Background())
		stop := time.AfterFunc(d, cancel)
		return ctx, func() { stop.Stop(); cancel() }
	default:
		return context.WithCancel(context.Background())
	}
}

func (st *storm) check(ids []int, outcomes []batch.Outcome, err error) {
	st.answered.Add(int64(len(ids)))
	if err != nil {
		var full *batch.OverloadError
		if !errors.As(err, &full) && !errors.Is(err, reward.ErrTooManyImages) && !errors.Is(err, reward.ErrBodyTooLarge) {
			st.t.Errorf("Score: %v", err)
		}
		return
	}
	allowed := []error{
		reward.ErrDeadlineExceeded, reward.ErrCanceled, reward.ErrEvaluatorFailed,
		reward.ErrImageCorrupt, reward.ErrInternal,
	}
	for i, o := range outcomes {
		if o.Err == nil {
			st.scored.Add(1)
			if int(o.Scores[0]) != ids[i] || o.Maps[0].Data[0] != float32(ids[i]) {
				st.t.Errorf("image %d got the result of %v", ids[i], o.Scores[0])
			}
			continue
		}
		known := false
		for _, e := range allowed {
			known = known || errors.Is(o.Err, e)
		}
		if !known {
			st.t.Errorf("image %d: unexpected error %v", ids[i], o.Err)
		}
	}
}
