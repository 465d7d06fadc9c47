package scoring_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/denseflow/densereward/engine/image"
	"github.com/denseflow/densereward/reward"
	"github.com/denseflow/densereward/reward/batch"
	"github.com/denseflow/densereward/reward/rewardtest"
	"github.com/denseflow/densereward/reward/scoring"
)

func writing(t *testing.T, e reward.Evaluator, queue batch.Config) *scoring.Pipeline {
	t.Helper()
	scheduler, err := batch.New(queue, e)
	if err != nil {
		t.Fatal(err)
	}
	return &scoring.Pipeline{Evaluator: e.Describe(), Scorer: scheduler, Files: image.NewDecoder(image.Limits{})}
}

func TestPromptsAreContinuedAndABadImageCostsItsOwnAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := writing(t, &rewardtest.Writer{}, batch.DefaultConfig())
		released := 0
		in := scoring.Input{
			Prompts: []string{"one", "two", "three"},
			Images:  []scoring.Image{{Encoded: rewardtest.PNG(rewardtest.Image(1, 8, 8))}, {Encoded: []byte("no image")}, {Decoded: rewardtest.Image(3, 8, 8)}},
			Hold:    func() func() { released--; return func() { released++ } },
		}
		c := reward.Continuation{System: "count", MaxNewTokens: 3}
		g, err := p.Generate(t.Context(), in, c)
		if err != nil {
			t.Fatal(err)
		}
		for i, seed := range []uint64{1, 0, 3} {
			if seed == 0 {
				if !errors.Is(g.Errors[i], reward.ErrImageUnsupported) || g.Generations[i] != (reward.Generation{}) {
					t.Errorf("sample %d: %+v, %v", i, g.Generations[i], g.Errors[i])
				}
				continue
			}
			want := rewardtest.Written(reward.Sample{Image: rewardtest.Image(seed, 8, 8), Prompt: in.Prompts[i], Continuation: c})
			if g.Errors[i] != nil || g.Generations[i] != want {
				t.Errorf("sample %d: %+v, %v, want %+v", i, g.Generations[i], g.Errors[i], want)
			}
		}
		synctest.Wait() // the answer comes before the last is let go of
		if released != 0 {
			t.Errorf("%d samples were not let go of", -released)
		}
	})
}

func TestWhoDoesNotGenerateIsNotAsked(t *testing.T) {
	one := scoring.Input{Prompts: []string{"a"}, Images: []scoring.Image{{Decoded: rewardtest.Image(1, 8, 8)}}}
	for name, tt := range map[string]struct {
		evaluator reward.Evaluator
		in        scoring.Input
		want      *reward.Error
		says      string
	}{
		"an evaluator with its own words": {&rewardtest.Fake{}, one, reward.ErrUnsupportedMode, "continues no prompt"},
		"prompts without images":          {&rewardtest.Writer{}, scoring.Input{Prompts: []string{"a"}}, reward.ErrImageCountMismatch, "images: 0"},
		"latents":                         {&rewardtest.Writer{}, scoring.Input{Prompts: []string{"a"}, Latents: &scoring.Latents{}}, reward.ErrInvalidValue, "latents"},
	} {
		if _, err := writing(t, tt.evaluator, batch.DefaultConfig()).Generate(t.Context(), tt.in, reward.Continuation{}); !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An evaluator that claims to generate and gives scores has written nothing.
type mute struct{ rewardtest.Fake }

func (m *mute) Describe() reward.Description {
	d := m.Fake.Describe()
	d.Generates = true
	return d
}

func (m *mute) Generate(_ context.Context, samples []reward.Sample) ([]reward.Result, error) {
	return make([]reward.Result, len(samples)), nil
}

func TestNothingWrittenIsAFailure(t *testing.T) {
	in := scoring.Input{Prompts: []string{"a"}, Images: []scoring.Image{{Decoded: rewardtest.Image(1, 8, 8)}}}
	g, err := writing(t, &mute{}, batch.DefaultConfig()).Generate(t.Context(), in, reward.Continuation{})
	if err != nil || !errors.Is(g.Errors[0], reward.ErrEvaluatorFailed) {
		t.Errorf("%+v, %v", g, err)
	}
}

func TestPromptsThatAreContinuedKeepDeadlinesAndWaitForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		queue := batch.DefaultConfig()
		queue.QueueSamples = 1
		p := writing(t, &rewardtest.Writer{Fake: rewardtest.Fake{Delay: time.Second}}, queue)
		in := scoring.Input{Prompts: []string{"a"}, Images: []scoring.Image{{Decoded: rewardtest.Image(1, 8, 8)}}}
		first := make(chan error)
		go func() {
			_, err := p.Generate(t.Context(), in, reward.Continuation{System: "first"})
			first <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if g, err := p.Generate(ctx, in, reward.Continuation{}); err != nil || g.Errors[0] != nil {
			t.Errorf("the second did not wait for room: %+v, %v", g, err)
		}
		if err := <-first; err != nil {
			t.Error(err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := p.Generate(ctx, in, reward.Continuation{System: "third"}); !errors.Is(err, reward.ErrDeadlineExceeded) {
			t.Errorf("beyond its deadline: %v", err)
		}
		if err := p.Scorer.(*batch.Scheduler).Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
