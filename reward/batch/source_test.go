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

// file is a job whose picture is in a file, which takes a second to decode.
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
