package batch_test

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestTheTailStaysWithinThreeBatchTimes offers 80 % of what the evaluator can
// do, samples arriving at random (Poisson), and looks at the 99th percentile of
// the latency. Time is synctest's, so that the figure is the policy's and not
// the machine's.
func TestTheTailStaysWithinThreeBatchTimes(t *testing.T) {
	const (
		batchTime = time.Second
		maxBatch  = 32
		load      = 0.8
		samples   = 20_000
	)
	synctest.Test(t, func(t *testing.T) {
		cfg := plain()
		cfg.MaxBatch, cfg.MaxDelay, cfg.QueueSamples = maxBatch, 5*time.Millisecond, samples
		e := &fake{takes: batchTime}
		s := start(t, cfg, e)
		rng := rand.New(rand.NewPCG(1, 1))
		between := float64(batchTime) / (load * maxBatch)
		latencies := make([]time.Duration, samples)
		var clients sync.WaitGroup
		for i := range samples {
			time.Sleep(time.Duration(rng.ExpFloat64() * between))
			clients.Go(func() {
				began := time.Now()
				if _, err := s.Score(t.Context(), jobs(i)); err != nil {
					t.Error(err)
				}
				latencies[i] = time.Since(began)
			})
		}
		clients.Wait()
		slices.Sort(latencies)
		if p99 := latencies[samples*99/100]; p99 > 3*batchTime {
			t.Errorf("p99 is %v, want at most three batch times of %v", p99, batchTime)
		}
		shutdown(t, s)
	})
}
