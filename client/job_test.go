package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/wire"
)

func mustSubmit(t *testing.T, c *client.Client, q *wire.Request) *client.Job {
	t.Helper()
	j, err := c.Submit(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestAJobsResultIsScores(t *testing.T) {
	c := newClient(t, listen(t, newServer(t, &rewardtest.Fake{})))
	parts := newClient(t, listen(t, newServer(t, &rewardtest.Fake{})), client.WithPartSize(2))
	want := mustScore(t, c, rollout(5))
	for name, c := range map[string]*client.Client{"whole": c, "in parts": parts} {
		j := mustSubmit(t, c, rollout(5))
		for range 2 {
			p, err := j.Result(t.Context())
			if err != nil || !reflect.DeepEqual(p.Rewards, want.Rewards) || !reflect.DeepEqual(p.Dense, want.Dense) {
				t.Errorf("%s: got %+v, %v", name, p, err)
			}
		}
		<-j.Done()
		j.Cancel() // too late
		if _, err := j.Result(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestAJobThatCannotBeIsNotSubmitted(t *testing.T) {
	s := &script{}
	q := rollout(2)
	q.Prompts = q.Prompts[:1]
	if _, err := newClient(t, listen(t, s)).Submit(t.Context(), q); !errors.Is(err, reward.ErrImageCountMismatch) || s.requests() != 0 {
		t.Errorf("got %v after %d requests", err, s.requests())
	}
	q = rollout(1)
	q.Evaluator = "nobody"
	j := mustSubmit(t, newClient(t, listen(t, newServer(t, &rewardtest.Fake{}))), q)
	if _, err := j.Result(t.Context()); !errors.Is(err, reward.ErrUnknownEvaluator) {
		t.Errorf("a job that the server refuses: %v", err)
	}
}

// says answers with a status and JSON.
func says(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(text))
	}
}

// Each case is the answers of a server in order; what follows is answered by the job. The
// first question to meet a connection that was used before meets two that break, since
// net/http asks again by itself.
func TestAnAnswerIsFetchedThroughWhatPasses(t *testing.T) {
	running, started := says(http.StatusAccepted, `{"status":"running"}`), says(http.StatusAccepted, `{"id":"a1","status":"running"}`)
	unknown := says(http.StatusNotFound, `{"code":"not_found","message":"no job"}`)
	for _, tt := range []struct {
		name  string
		steps []http.HandlerFunc
		posts int32
	}{
		{"a job that takes its time", []http.HandlerFunc{started, running, running}, 1},
		{"connections that break", []http.HandlerFunc{started, breaks, breaks, running, breaks, breaks}, 1},
		{"a server that started since", []http.HandlerFunc{started, running, unknown, started}, 2},
		{"a server that was full when the job ran", []http.HandlerFunc{started, fails(reward.ErrOverloaded), started}, 2},
		{"a server that does not answer any more", []http.HandlerFunc{started, running, breaks, breaks, breaks, breaks, started}, 2},
		{"a server that is full", []http.HandlerFunc{fails(reward.ErrOverloaded), started}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			answer := &wire.Response{Rewards: []float64{.5}, Missing: [][]string{nil}, Errors: []*reward.Error{nil}, Cached: []bool{false}}
			var posts atomic.Int32
			s := &script{steps: tt.steps, next: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(answer.Encode().Bytes()) })}
			counted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					posts.Add(1)
				}
				if r.URL.Path != wire.JobsPath && r.URL.Path != wire.JobsPath+"/a1" {
					t.Errorf("asked for %s", r.URL.Path)
				}
				s.ServeHTTP(w, r)
			})
			p, err := mustSubmit(t, newClient(t, listen(t, counted), newClock().option()), rollout(1)).Result(t.Context())
			if err != nil || p.Rewards[0] != .5 || posts.Load() != tt.posts {
				t.Errorf("%v, %v, after %d posts, want %d", p, err, posts.Load(), tt.posts)
			}
		})
	}
}

func TestAJobWithoutAnIDIsAnError(t *testing.T) {
	for _, text := range []string{"", "{}", "[", `{"id":7}`} {
		c := newClient(t, listen(t, says(http.StatusAccepted, text)))
		if _, err := mustSubmit(t, c, rollout(1)).Result(t.Context()); err == nil || !strings.Contains(err.Error(), "without an id") {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestACancelledJobEndsOnTheServerToo(t *testing.T) {
	dropped, asked := make(chan string, 1), make(chan struct{}, 1)
	c := newClient(t, listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodPost:
			says(http.StatusAccepted, `{"id":"a1"}`)(w, r)
		case http.MethodDelete:
			dropped <- r.URL.Path
		default:
			asked <- struct{}{}
			hangs(w, r)
		}
	})))
	j := mustSubmit(t, c, rollout(1))
	<-asked
	soon, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := j.Result(soon); !errors.Is(err, context.Canceled) {
		t.Errorf("a wait that ended: %v", err)
	}
	j.Cancel()
	if _, err := j.Result(t.Context()); !errors.Is(err, context.Canceled) {
		t.Errorf("a job that was cancelled: %v", err)
	}
	if path := <-dropped; path != wire.JobsPath+"/a1" {
		t.Errorf("%s was dropped", path)
	}
}

// A rollout that goes on while its images are scored.
func ExampleClient_Submit() {
	web := demonstration()
	defer web.Close()

	c, err := client.New(web.URL, client.WithTimeout(time.Minute))
	if err != nil {
		fmt.Println(err)
		return
	}
	var earlier *client.Job
	for step := range 3 {
		q := rollout(4) // sampled while the server scores those before
		j, err := c.Submit(context.Background(), q)
		if err != nil {
			fmt.Println(err)
			return
		}
		if earlier != nil {
			p, err := earlier.Result(context.Background())
			if err != nil {
				fmt.Println(err)
				return
			}
			fmt.Printf("step %d learns from %d rewards of the step before\n", step, len(p.Rewards))
		}
		earlier = j
	}
	earlier.Cancel()
	// Output:
	// step 1 learns from 4 rewards of the step before
	// step 2 learns from 4 rewards of the step before
}
