package batch_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
)

// file is a job whose image is in a file, which takes a second to decode.
func file(text string, id int, decoded *atomic.Int64) batch.Job {
	j := jobs(id)[0]
	j = slow(j, time.Second)
	load := j.Load
	j.Load = func(ctx context.Context) (*reward.Image, error) {
		decoded.Add(1)
		return load(ctx)
	}
	j.Source = []byte(text)
	return j
}

func TestAFileThatIsKnownIsNotDecodedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var decoded atomic.Int64
		o := &tally{}
		cfg := cached()
		cfg.Observer = o
		s := start(t, cfg, &fake{takes: time.Minute})
		first := score(t.Context(), s, []batch.Job{file("a", 1, &decoded), file("b", 2, &decoded)})
		synctest.Wait()
		second := score(t.Context(), s, []batch.Job{file("a", 1, &decoded)}) // in flight
		wantIdentities(t, <-first, 1, 2)
		a := <-second
		wantIdentities(t, a, 1)
		third := <-score(t.Context(), s, []batch.Job{file("b", 2, &decoded), file("c", 3, &decoded)})
		wantIdentities(t, third, 2, 3)
		if !a.outcomes[0].Cached || !third.outcomes[0].Cached || third.outcomes[1].Cached {
			t.Errorf("cached: %v, %v, %v", a.outcomes[0].Cached, third.outcomes[0].Cached, third.outcomes[1].Cached)
		}
		if decoded.Load() != 3 {
			t.Errorf("%d files were decoded, want 3", decoded.Load())
		}
		shutdown(t, s)
		wantCounts(t, o, map[batch.Event]int{batch.CacheMiss: 3, batch.CacheHit: 1, batch.CacheShared: 1, batch.Scored: 5})
	})
}

func TestPixelsAreKnownWhateverTheyCameIn(t *testing.T) {
	const files = 2
	for _, tt := range []struct {
		name  string
		first func(*atomic.Int64) batch.Job
		then  func(*atomic.Int64) batch.Job
	}{
		{"a file, then the pixels", func(n *atomic.Int64) batch.Job { return file("a", 1, n) }, func(*atomic.Int64) batch.Job { return jobs(1)[0] }},
		{"the pixels, then a file", func(*atomic.Int64) batch.Job { return jobs(1)[0] }, func(n *atomic.Int64) batch.Job { return file("a", 1, n) }},
		{"two files", func(n *atomic.Int64) batch.Job { return file("a", 1, n) }, func(n *atomic.Int64) batch.Job { return file("b", 1, n) }},
	} {
		for name, flight := range map[string]time.Duration{"one after the other": time.Hour, "in flight": 10 * time.Second} {
			t.Run(tt.name+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var decoded atomic.Int64
					o := &tally{}
					cfg := cached()
					cfg.Observer = o
					s := start(t, cfg, &fake{takes: time.Minute})
					first := score(t.Context(), s, []batch.Job{tt.first(&decoded)})
					time.Sleep(flight)
					then := score(t.Context(), s, []batch.Job{tt.then(&decoded), tt.then(&decoded)})
					wantIdentities(t, <-first, 1)
					a := <-then
					wantIdentities(t, a, 1, 1)
					if !a.outcomes[0].Cached || !a.outcomes[1].Cached {
						t.Error("evaluated twice")
					}
					before := decoded.Load()
					again := <-score(t.Context(), s, []batch.Job{tt.first(&decoded), tt.then(&decoded)})
					wantIdentities(t, again, 1, 1)
					if after := decoded.Load(); before > files || after != before {
						t.Errorf("decoded %d files and then %d more", before, after-before)
					}
					if st := s.Stats(); st.CacheEntries != 1 || st.Samples != 0 || st.Bytes != 0 {
						t.Errorf("%+v: want one result and nothing else", st)
					}
					shutdown(t, s)
					wantCounts(t, o, map[batch.Event]int{batch.CacheMiss: 1, batch.Scored: 5})
				})
			})
		}
	}
}

func TestAFileIsNotTakenForPixels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var decoded atomic.Int64
		s := start(t, cached(), &fake{})
		pixels := jobs(7)[0]
		wantIdentities(t, <-score(t.Context(), s, []batch.Job{pixels}), 7)
		a := <-score(t.Context(), s, []batch.Job{file(string(pixels.Sample.Image.Pix), 8, &decoded)})
		wantIdentities(t, a, 8)
		shutdown(t, s)
	})
}

func TestAllWhoSentAFileThatCannotBeDecodedAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &tally{}
		cfg := cached()
		cfg.Observer = o
		s := start(t, cfg, &fake{})
		bad := jobs(1)[0]
		bad.Source = []byte("spoilt")
		bad.Load = func(context.Context) (*reward.Image, error) {
			time.Sleep(time.Second)
			return nil, reward.ErrImageCorrupt
		}
		first := score(t.Context(), s, []batch.Job{bad})
		synctest.Wait()
		second := score(t.Context(), s, []batch.Job{bad, bad})
		wantErrors(t, <-first, reward.ErrImageCorrupt)
		wantErrors(t, <-second, reward.ErrImageCorrupt)
		shutdown(t, s)
		wantCounts(t, o, map[batch.Event]int{batch.PrepareFailed: 3, batch.Scored: 0})
	})
}
