package remote

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/server"
	"github.com/denseflow/densereward/reward/server/servertest"
)

// serve is a DenseReward server of a fake.
func serve(t *testing.T, fake reward.Evaluator) *httptest.Server {
	t.Helper()
	web := httptest.NewServer(servertest.New(t, server.Config{}, fake))
	t.Cleanup(web.Close)
	return web
}

func TestAnotherServersEvaluatorConforms(t *testing.T) {
	web := serve(t, &rewardtest.Fake{})
	rewardtest.Run(t, func() reward.Evaluator {
		s, err := NewServer(t.Context(), "", Options{URL: web.URL, Name: "far"})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

// The server there continues prompts, and the one here does through it.
func TestAnotherServersGeneratorConforms(t *testing.T) {
	there := &rewardtest.Writer{}
	web := serve(t, there)
	var far reward.Evaluator
	rewardtest.Run(t, func() reward.Evaluator {
		var err error
		if far, err = NewServer(t.Context(), "", Options{URL: web.URL + "/", Name: "far", Pause: time.Millisecond}); err != nil {
			t.Fatal(err)
		}
		return far
	})
	asked := samples("a red circle")
	asked[0].Mode = reward.ModeGenerate
	asked[0].Continuation = reward.Continuation{System: "Be brief.", MaxNewTokens: 3}
	want, err := there.Generate(t.Context(), asked)
	if err != nil {
		t.Fatal(err)
	}
	got, err := far.(reward.Generator).Generate(t.Context(), asked)
	if err != nil || got[0].Err != nil || *got[0].Generation != *want[0].Generation {
		t.Errorf("got %+v, %v, want %+v", got[0], err, want[0].Generation)
	}
}

func TestAnotherServersAnswersAreItsEvaluators(t *testing.T) {
	fake := &rewardtest.Fake{Fail: func(s reward.Sample) error {
		if s.Prompt == "bad" {
			return errors.New("told to")
		}
		return nil
	}}
	s, err := NewServer(t.Context(), "fake", Options{URL: serve(t, fake).URL})
	if err != nil {
		t.Fatal(err)
	}
	asked := samples("a", "bad")
	for i := range asked {
		asked[i].Mode = reward.ModeAnswer
	}
	got, err := s.Evaluate(t.Context(), asked)
	if err != nil {
		t.Fatal(err)
	}
	want, err := fake.Evaluate(t.Context(), asked)
	if err != nil {
		t.Fatal(err)
	}
	if got[0].Err != nil || got[0].Scores[0] != want[0].Scores[0] || got[0].Maps[1].Data[7] != want[0].Maps[1].Data[7] || got[0].Text != want[0].Text {
		t.Errorf("got %+v, want %+v", got[0], want[0])
	}
	if got[1].Err == nil || got[1].Scores != nil {
		t.Errorf("the bad sample: %+v", got[1])
	}
}

func TestAServerThatIsGoneFailsItsSamplesAlone(t *testing.T) {
	web := serve(t, &rewardtest.Fake{})
	s, err := NewServer(t.Context(), "", Options{URL: web.URL, Tries: 1})
	if err != nil {
		t.Fatal(err)
	}
	web.Close()
	results, err := s.Evaluate(t.Context(), samples("a", "b"))
	if err != nil || results[0].Err == nil || results[1].Err == nil || results[0].Scores != nil {
		t.Errorf("got %+v, %v", results, err)
	}
	if _, err := NewServer(t.Context(), "", Options{URL: web.URL, Tries: 1}); err == nil {
		t.Error("a description of a server that is gone")
	}
}

func TestAnEvaluatorThatIsNotThereIsNamedWithThoseThatAre(t *testing.T) {
	if _, err := NewServer(t.Context(), "nobody", Options{URL: serve(t, &rewardtest.Fake{}).URL}); err == nil || !strings.Contains(err.Error(), `["fake"]`) {
		t.Errorf("got %v", err)
	}
}
