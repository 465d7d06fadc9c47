package batch_test

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
)

func cached() batch.Config {
	cfg := plain()
	cfg.MaxDelay = time.Millisecond
	cfg.CacheBytes = 1 << 20
	return cfg
}

func TestTheSameWorkIsEvaluatedOnce(t *testing.T) {
	base := jobs(1)[0]
	change := func(f func(*reward.Sample)) batch.Job {
		j := jobs(1)[0]
		f(&j.Sample)
		return j
	}
	for _, tt := range []struct {
		name string
		job  batch.Job
		hit  bool
	}{
		{"the same image, prompt and mode", jobs(1)[0], true},
		{"the same image, decoded from another file", slow(jobs(1)[0], time.Second), true},
		{"another image", jobs(2)[0], false},
		{"another prompt", change(func(s *reward.Sample) { s.Prompt = "q" }), false},
		{"another mode", change(func(s *reward.Sample) { s.Mode = reward.ModeThink }), false},
		{"other metadata", change(func(s *reward.Sample) { s.Metadata = map[string]any{"target_text": "OPEN"} }), false},
		{"empty metadata", change(func(s *reward.Sample) { s.Metadata = map[string]any{} }), true},
		{"the same pixels in another shape", change(func(s *reward.Sample) { s.Image.Width, s.Image.Height = 1, 2 }), false},
		{"a letter moved from the mode to the prompt", change(func(s *reward.Sample) {
			s.Mode, s.Prompt = s.Mode[:len(s.Mode)-1], string(s.Mode[len(s.Mode)-1:])+s.Prompt
		}), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &tally{}
				cfg := cached()
				cfg.Observer = o
				e := &fake{takes: time.Minute}
				s := start(t, cfg, e)
				wantIdentities(t, <-score(t.Context(), s, []batch.Job{base}), 1)
				a := <-score(t.Context(), s, []batch.Job{tt.job})
				if a.outcomes[0].Cached != tt.hit {
					t.Errorf("cached is %v, want %v", a.outcomes[0].Cached, tt.hit)
				}
				if hit := a.took < time.Minute; hit != tt.hit {
					t.Errorf("took %v", a.took)
				}
				hits := 0
				if tt.hit {
					hits = 1
				}
				shutdown(t, s)
				wantCounts(t, o, map[batch.Event]int{batch.CacheHit: hits, batch.CacheMiss: 2 - hits, batch.Scored: 2})
			})
		})
	}
}

func TestIdenticalWorkInFlightIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &tally{}
		cfg := cached()
		cfg.Observer = o
		e := &fake{takes: time.Minute}
		s := start(t, cfg, e)
		first := score(t.Context(), s, jobs(1))
		time.Sleep(time.Second)
		second := score(t.Context(), s, jobs(1, 1))
		synctest.Wait()
		if st := s.Stats(); st.Samples != 3 || st.Bytes != 6 {
			t.Errorf("%+v: want three samples that hold one image", st)
		}
		wantIdentities(t, <-first, 1)
		a := <-second
		wantIdentities(t, a, 1, 1)
		for i, out := range a.outcomes {
			if !out.Cached || out.Timing.Evaluate != 0 || out.Timing.Wait == 0 {
				t.Errorf("outcome %d: cached %v, %+v", i, out.Cached, out.Timing)
			}
		}
		if got, want := e.seen(), [][]int{{1}}; !reflect.DeepEqual(got, want) {
			t.Errorf("batches %v, want %v", got, want)
		}
		shutdown(t, s)
		wantCounts(t, o, map[batch.Event]int{batch.CacheMiss: 1, batch.CacheShared: 2, batch.Scored: 3})
	})
}

func TestSharedWorkGoesOnWhenItsFirstCallerLeaves(t *testing.T) {
	for _, tt := range []struct {
		name  string
		takes time.Duration // of the evaluator's batch before
		leave time.Duration // after the start
	}{
		{"while it is evaluated", 0, 30 * time.Second},
		{"while it is ready", time.Hour, time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := cached()
				e := &fake{takes: time.Minute}
				s := start(t, cfg, e)
				if tt.takes > 0 {
					e.takes = tt.takes
					score(t.Context(), s, jobs(100))
					time.Sleep(time.Second)
				}
				ctx, leave := context.WithTimeout(t.Context(), tt.leave)
				defer leave()
				first := score(ctx, s, jobs(1))
				time.Sleep(time.Second)
				second := score(t.Context(), s, jobs(1))
				wantErrors(t, <-first, reward.ErrDeadlineExceeded)
				wantIdentities(t, <-second, 1)
				shutdown(t, s)
			})
		})
	}
}

func TestSharedWorkGoesOnWhenALaterCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &fake{takes: time.Minute}
		s := start(t, cached(), e)
		first := score(t.Context(), s, jobs(1))
		time.Sleep(time.Second)
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		wantErrors(t, <-score(ctx, s, jobs(1)), reward.ErrDeadlineExceeded)
		if st := s.Stats(); st.Samples != 1 {
			t.Errorf("%+v: want the first caller's sample only", st)
		}
		wantIdentities(t, <-first, 1)
		shutdown(t, s)
	})
}

func TestWorkThatWasGivenUpIsNotJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		calls := 0
		e := &fake{evaluate: func(ctx context.Context, samples []reward.Sample) ([]reward.Result, error) {
			if calls++; calls == 1 {
				<-stuck
				return nil, ctx.Err()
			}
			return resultsOf(samples), nil
		}}
		s := start(t, cached(), e)
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		wantErrors(t, <-score(ctx, s, jobs(1)), reward.ErrDeadlineExceeded)
		again := score(t.Context(), s, jobs(1))
		time.Sleep(time.Second)
		close(stuck)
		wantIdentities(t, <-again, 1)
		shutdown(t, s)
	})
}

func TestTheCacheStaysWithinItsBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		big := strings.Repeat("x", 10_000)
		cfg := cached()
		cfg.CacheBytes = 100_000
		e := &fake{evaluate: func(_ context.Context, samples []reward.Sample) ([]reward.Result, error) {
			results := resultsOf(samples)
			// One array for the whole batch, as evaluators make it.
			all := make([]float32, 1000*len(samples))
			for i := range results {
				copy(all[1000*i:], results[i].Maps[0].Data)
				results[i].Maps[0].Data = all[1000*i : 1000*(i+1)]
				results[i].Text = big
			}
			return results, nil
		}}
		s := start(t, cfg, e)
		wantIdentities(t, <-score(t.Context(), s, jobs(sequence(0, 50)...)), sequence(0, 50)...)
		st := s.Stats()
		if st.CacheBytes > cfg.CacheBytes || st.CacheEntries != 6 {
			t.Errorf("%d entries in %d bytes, want 6 in at most %d", st.CacheEntries, st.CacheBytes, cfg.CacheBytes)
		}
		a := <-score(t.Context(), s, jobs(49, 0))
		if !a.outcomes[0].Cached || a.outcomes[1].Cached {
			t.Error("want the latest result kept and the first gone")
		}
		big = strings.Repeat("x", 200_000)
		wantIdentities(t, <-score(t.Context(), s, jobs(77)), 77)
		if after := s.Stats(); after.CacheEntries != 6 {
			t.Errorf("%d entries: a result larger than the cache drove the others out", after.CacheEntries)
		}
		shutdown(t, s)
	})
}

func TestTheCacheCanBeTurnedOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &tally{}
		cfg := cached()
		cfg.Observer, cfg.CacheBytes = o, 0
		e := &fake{}
		s := start(t, cfg, e)
		for range 2 {
			a := <-score(t.Context(), s, jobs(1, 1))
			wantIdentities(t, a, 1, 1)
			if a.outcomes[0].Cached || a.outcomes[1].Cached {
				t.Error("a result is marked as cached")
			}
		}
		shutdown(t, s)
		wantCounts(t, o, map[batch.Event]int{batch.CacheHit: 0, batch.CacheShared: 0, batch.CacheMiss: 0, batch.Scored: 4})
	})
}

func TestConfigIsChecked(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(*batch.Config)
		want  string
	}{
		{"no batch", func(c *batch.Config) { c.MaxBatch = 0 }, "MaxBatch is 0, want at least 1"},
		{"negative delay", func(c *batch.Config) { c.MaxDelay = -1 }, "MaxDelay is -1ns, want at least 0"},
		{"no workers", func(c *batch.Config) { c.Workers = 0 }, "Workers is 0, want at least 1"},
		{"no queue", func(c *batch.Config) { c.QueueSamples = 0 }, "QueueSamples is 0, want at least 1"},
		{"no room", func(c *batch.Config) { c.QueueBytes = 0 }, "QueueBytes is 0, want at least 1"},
		{"negative cache", func(c *batch.Config) { c.CacheBytes = -1 }, "CacheBytes is -1, want at least 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := batch.DefaultConfig()
			tt.spoil(&cfg)
			if _, err := batch.New(cfg, &fake{}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	if _, err := batch.New(batch.DefaultConfig()); err == nil {
		t.Error("no evaluator is accepted")
	}
	if _, err := batch.New(batch.DefaultConfig(), &fake{}, &fake{name: "other"}); err == nil {
		t.Error("evaluators of two checkpoints are accepted")
	}
}
