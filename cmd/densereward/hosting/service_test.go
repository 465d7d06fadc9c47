package hosting

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/denseflow/densereward/client"
	"github.com/denseflow/densereward/cmd/densereward/evaluators"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
)

// hosts is an engine of fakes by their names: each scores its warm-up or fails it with
// the error.
func hosts(failures map[string]error) *Engine {
	e := &Engine{Evaluators: &evaluators.Set{}}
	for _, name := range []string{"first", "second"} {
		err, hosted := failures[name]
		if !hosted {
			continue
		}
		fake := &rewardtest.Fake{Name: name, Fail: func(reward.Sample) error { return err }}
		h := evaluators.Hosted{Assignment: evaluators.Assignment{Batch: 1}, Description: fake.Describe(), Evaluators: []reward.Evaluator{fake}}
		e.Evaluators.Hosted = append(e.Evaluators.Hosted, h)
	}
	return e
}

func TestAnEvaluatorThatFailsItsWarmUpLeavesTheOthersToServe(t *testing.T) {
	away := reward.ErrEvaluatorFailed.With("connection refused")
	unreadable := reward.ErrEvaluatorFailed.With("the answer has none of beauty").Wrap(reward.ErrUnreadable)
	for name, c := range map[string]struct {
		failures map[string]error
		starts   bool
		noted    string // the evaluator whose note tells of it
	}{
		"all score":                      {map[string]error{"first": nil, "second": nil}, true, ""},
		"an endpoint is away":            {map[string]error{"first": nil, "second": away}, true, "second"},
		"the first one is":               {map[string]error{"first": away, "second": nil}, true, "first"},
		"an answer cannot be read":       {map[string]error{"first": nil, "second": unreadable}, true, "second"},
		"the only answer cannot":         {map[string]error{"first": unreadable}, true, "first"},
		"the only endpoint is away":      {map[string]error{"first": away}, false, ""},
		"all are away":                   {map[string]error{"first": away, "second": away}, false, ""},
		"one is away, one answers so so": {map[string]error{"first": away, "second": unreadable}, true, "first"},
	} {
		var log strings.Builder
		e := hosts(c.failures)
		s, err := NewService(e.Evaluators.Hosted, batch.DefaultConfig(), server.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, "test")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Warm(t.Context(), e); (err == nil) != c.starts || (s.Readiness.Err() == nil) != c.starts {
			t.Errorf("%s: warming up: %v, readiness %v", name, err, s.Readiness.Err())
		}
		if err := e.Check(t.Context()); (err == nil) != (c.noted == "" && c.starts) {
			t.Errorf("%s: the check says %v", name, err)
		}
		checkNotes(t, name, s, c.noted)
		if c.noted != "" && !strings.Contains(log.String(), "level=WARN") {
			t.Errorf("%s: the log says %q", name, log.String())
		}
	}
}

// checkNotes holds that /v1/models tells of the failure of one evaluator, if of any.
func checkNotes(t *testing.T, name string, s *Service, noted string) {
	t.Helper()
	web := httptest.NewServer(s.Handler)
	defer web.Close()
	c, err := client.New(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	models, err := c.Models(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range models.Evaluators {
		if tells := strings.Contains(m.Note, "failed to score a gray square"); noted != "" && m.Name == noted && !tells || noted == "" && tells {
			t.Errorf("%s: the note of %s is %q", name, m.Name, m.Note)
		}
	}
}

func TestAnEvaluatorThatCannotRunEndsTheStart(t *testing.T) {
	e := hosts(map[string]error{"first": nil})
	broken := errors.New("no memory")
	e.Evaluators.Hosted[0].Evaluators = []reward.Evaluator{&rewardtest.Fake{Before: func(context.Context, []reward.Sample) error { return broken }}}
	s, err := NewService(e.Evaluators.Hosted, batch.DefaultConfig(), server.Config{Logger: slog.New(slog.DiscardHandler)}, "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Warm(t.Context(), e); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestWorkingMemoryIsThatOfABatchOfEachMode(t *testing.T) {
	for name, c := range map[string]struct {
		devices  []string
		instance int
		batch    int
		took     int64
		want     int64
	}{
		"a batch on the processor":       {[]string{"cpu"}, 0, 4, 100, 2 * 4 * 100},
		"a batch that nobody named":      {[]string{"cpu"}, 0, 0, 100, 2 * 100},
		"a batch on a GPU":               {[]string{"cuda:0"}, 0, 4, 100, 0},
		"the processor beside a GPU":     {[]string{"cuda:0", "cpu"}, 1, 4, 100, 2 * 4 * 100},
		"the GPU beside the processor":   {[]string{"cuda:0", "cpu"}, 0, 4, 100, 0},
		"an evaluator elsewhere":         {nil, 0, 4, 100, 0},
		"memory that was given back":     {[]string{"cpu"}, 0, 4, -100, 0},
		"a second one on the processors": {[]string{"cpu", "cpu"}, 1, 1, 100, 2 * 100},
	} {
		h := evaluators.Hosted{Assignment: evaluators.Assignment{Devices: c.devices, Batch: c.batch}, Description: (&rewardtest.Fake{}).Describe()}
		var f Footprint
		if f.add(&h, c.instance, c.took); f.Working != c.want {
			t.Errorf("%s: %d bytes, want %d", name, f.Working, c.want)
		}
	}
}
