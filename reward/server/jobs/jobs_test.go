package jobs_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/denseflow/densereward/reward/server/jobs"
)

func TestAnAnswerIsFetchedUntilItExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := jobs.New(jobs.Config{Jobs: 2, AnswerBytes: 8, Keep: time.Minute}, time.Now)
		release := make(chan struct{})
		id := s.Start(t.Context(), "me", "me", lost, func(context.Context) jobs.Answer { <-release; return jobs.Answer{Status: 200, Body: []byte("four")} })
		soon, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got, known := s.Wait(soon, "me", id); got != nil || !known {
			t.Fatalf("a job that runs has the answer %v, known %v", got, known)
		}
		close(release)
		for range 2 { // a lost answer is fetched again
			if got, known := s.Wait(t.Context(), "me", id); !known || string(got.Body) != "four" {
				t.Fatalf("got %v, %v", got, known)
			}
		}
		if _, known := s.Wait(t.Context(), "somebody else", id); known {
			t.Error("somebody else may fetch the answer")
		}
		time.Sleep(time.Minute)
		if _, known := s.Wait(t.Context(), "me", id); known {
			t.Error("the answer did not expire")
		}
		if _, known := s.Wait(t.Context(), "me", "another"); known {
			t.Error("a job that nobody started is known")
		}
	})
}

// lost is what clients get for an answer for which there is no room.
func lost(forever bool) jobs.Answer {
	if forever {
		return jobs.Answer{Status: 413}
	}
	return jobs.Answer{Status: 429}
}

func TestAnswersOfJobsThatEndTogetherStayWithinTheirMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := jobs.New(jobs.Config{Jobs: 16, AnswerBytes: 16, Keep: time.Minute}, time.Now)
		release := make(chan struct{})
		start := func(client string, n int) string {
			return s.Start(t.Context(), "me", client, lost, func(context.Context) jobs.Answer {
				<-release
				return jobs.Answer{Status: 200, Body: make([]byte, n)}
			})
		}
		statuses := func(ids []string) map[int]int {
			found := map[int]int{}
			for _, id := range ids {
				answer, known := s.Wait(t.Context(), "me", id)
				if !known {
					t.Fatal("a job is not known")
				}
				found[answer.Status]++
			}
			return found
		}
		var greedy, modest []string
		for range 8 {
			greedy = append(greedy, start("greedy", 4))
		}
		huge := start("huge", 17)
		close(release)
		synctest.Wait()
		modest = append(modest, start("modest", 4), start("modest", 4))
		if got := statuses(greedy); got[200] != 3 || got[429] != 5 {
			t.Errorf("one client's answers: %v, want three quarters of the memory", got)
		}
		if got := statuses(modest); got[200] != 1 || got[429] != 1 {
			t.Errorf("another client's answers: %v, want the last quarter", got)
		}
		if got := statuses([]string{huge}); got[413] != 1 {
			t.Errorf("an answer that never fits: %v", got)
		}
		time.Sleep(time.Minute)
		if ids := []string{start("greedy", 16)}; statuses(ids)[200] != 1 {
			t.Error("answers that have expired still take memory")
		}
	})
}

func TestAClientHasNoMoreThanItsShareOfJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := jobs.New(jobs.Config{Jobs: 8, AnswerBytes: 8, Keep: time.Minute}, time.Now)
		taken := map[string]int{}
		for range 8 {
			for _, client := range []string{"greedy", "greedy", "modest"} {
				if s.Start(t.Context(), "", client, lost, func(context.Context) jobs.Answer { return jobs.Answer{} }) != "" {
					taken[client]++
				}
			}
		}
		if taken["greedy"] > 6 || taken["greedy"]+taken["modest"] != 8 {
			t.Errorf("taken: %v of 8", taken)
		}
		synctest.Wait()
	})
}

func TestAFullStoreTakesNoJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := jobs.New(jobs.Config{Jobs: 2, AnswerBytes: 8, Keep: time.Minute}, time.Now)
		answer := func(n int) func(context.Context) jobs.Answer {
			return func(context.Context) jobs.Answer { return jobs.Answer{Body: make([]byte, n)} }
		}
		s.Start(t.Context(), "me", "me", lost, answer(0))
		s.Start(t.Context(), "me", "me", lost, answer(0))
		if id := s.Start(t.Context(), "me", "me", lost, answer(0)); id != "" {
			t.Error("a third job was taken")
		}
		synctest.Wait()
		time.Sleep(time.Minute)
		id := s.Start(t.Context(), "me", "me", lost, answer(8))
		if _, known := s.Wait(t.Context(), "me", id); !known {
			t.Fatal("no job was taken after the others expired")
		}
		if id := s.Start(t.Context(), "me", "me", lost, answer(0)); id != "" {
			t.Error("a job was taken beyond the memory of answers")
		}
	})
}

func TestADroppedJobEndsAndLeavesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := jobs.New(jobs.Config{Jobs: 1, AnswerBytes: 8, Keep: time.Minute}, time.Now)
		asked, cancel := context.WithCancel(t.Context())
		var ended atomic.Bool
		running := s.Start(asked, "me", "me", lost, func(ctx context.Context) jobs.Answer {
			<-ctx.Done()
			time.Sleep(time.Second)
			ended.Store(true)
			return jobs.Answer{Body: []byte("nobody's")}
		})
		cancel() // the request that started it may end
		go func() {
			if got, known := s.Wait(t.Context(), "me", running); known {
				t.Errorf("who waits for a job that is dropped gets %+v", got)
			}
		}()
		time.Sleep(time.Second)
		if ended.Load() || s.Drop("somebody else", running) || s.Drop("me", "another") || !s.Drop("me", running) || s.Drop("me", running) {
			t.Fatal("the job ended by itself, or was dropped by somebody else, or twice")
		}
		if _, known := s.Wait(t.Context(), "me", running); known {
			t.Error("a dropped job is known")
		}
		full := func(context.Context) jobs.Answer { return jobs.Answer{Body: make([]byte, 8)} }
		if s.Start(t.Context(), "me", "me", lost, full) != "" {
			t.Error("a job that has not ended yet does not count")
		}
		time.Sleep(2 * time.Second)
		if !ended.Load() {
			t.Fatal("the job did not end")
		}
		finished := s.Start(t.Context(), "me", "me", lost, full)
		synctest.Wait()
		if !s.Drop("me", finished) || s.Start(t.Context(), "me", "me", lost, full) == "" {
			t.Error("an answer that was dropped takes memory")
		}
		synctest.Wait()
	})
}
